"""All kernels compile for a card (compute capability 9.0), for which none has to be there.

Triton is asked in a process of its own, as in this one its interpreter takes the kernels.
"""

import os
import subprocess
import sys
from pathlib import Path

CARD = ("cuda", 90, 32)
INDICES = {"source", "target", "forward", "ptr", "reverse", "pair"}


def compile_all():
    import triton.language as tl

    from molgeo.ops import filter_triton
    from molgeo.ops.directional import kernels
    from molgeo.ops.directional.kernels import TILE

    sizes = {"C": 64, "TILE": filter_triton.EDGES, "BLOCK": 64, "DTYPE": tl.float32}
    for kernel in (filter_triton._convolution_kernel, filter_triton._pair_kernel):
        compile_one(kernel, sizes, 4)
    sizes = {"L": 7, "B": 8, "C": 64, "B_PAD": 16, "TILE": TILE, "DTYPE": tl.float32}
    for tangent in (False, True):
        options = {**sizes, "C_PAD": 64, "TANGENT": tangent, "PRECISION": "tf32"}
        compile_one(kernels._message_kernel, options, 4)
        compile_one(kernels._feature_kernel, options, 4)
        compile_one(kernels._unit_kernel, options | {"C_PAD": 16}, 1)


def compile_one(kernel, constants, warps):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = {}
    for name in kernel.arg_names:
        number = "i32" if name.startswith("n_") else "*fp32"
        kinds[name] = "constexpr" if name in constants else "*i64" if name in INDICES else number
    source = ASTSource(kernel, kinds, constants)
    options = {"num_warps": warps, "num_stages": 1}
    compiled = triton.compile(source, target=GPUTarget(*CARD), options=options)
    print(kernel.__name__, len(compiled.asm["cubin"]))


def test_every_kernel_compiles(tmp_path):
    import triton  # noqa: F401, without which the test is left out

    own = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    own |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__))], env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sizes = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(sizes) == 8
    assert min(sizes) > 1000


if __name__ == "__main__":
    compile_all()
