"""An evaluation on a CPU as machine code, compiled once per machine for all atoms and graphs.

The program of a model (`molgeo.predictor.program`) is a list of operations, each of which reads and
writes memory and is called by itself. PyTorch's AOTInductor fuses them into C++, and a compiler
makes a library of it. That takes half a minute. The library is kept in a file, so that it serves
every later process, and holds for molecules of any size and number.

It computes by one thread. Structures so large that several threads pay are evaluated as ever.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import json
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from molgeo.data.location import data_dir
from molgeo.graph import Graph
from molgeo.ops.dense import NARROW, onednn_is_faster
from molgeo.predictor import Potential, Predictor
from molgeo.predictor.checkpoint import weights_digest
from molgeo.predictor.potential import unlike
from molgeo.runtime.version import VERSION
from molgeo.runtime.whole_file import replacing

FOLDER: Final = "compiled"
"""Of the data folder, where libraries are kept."""

PRODUCTS: Final = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
SAME_MATRIX: Final = (torch.ops.aten.t.default, torch.ops.aten.detach.default)

LEAST_PER_ATOM: Final = 50_000
"""Multiplications of a product per atom from which on oneDNN is the faster one. It takes 10 µs to
begin, and a molecule has some tens of atoms."""

Library = Callable[..., dict[str, Tensor]]


class Compiled:
    """The potential of any atoms and graph, by a library.

    Args:
        model: its weights must never change.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: of these atoms, with which the library is checked.
        strain: compute the derivative by the strain too.

    Raises:
        RuntimeError: the library gives other numbers than the evaluation.
        Exception: whatever PyTorch raises if it cannot compile the model.
    """

    def __init__(
        self, model: Predictor, z: Tensor, pos: Tensor, graph: Graph, strain: bool
    ) -> None:
        file = library_file(model, strain)
        expected = model.potential(z, pos, graph, True, strain)
        self._takes_charge = model.backbone.takes_charge
        if file.exists():
            try:  # it may be damaged
                self._library = _load(file)
                if unlike(self(z, pos, graph), expected) is None:
                    return
            except Exception:
                pass
        _make(model, strain, file)
        self._library = _load(file)
        if name := unlike(self(z, pos, graph), expected):
            raise RuntimeError(f"the compiled model gives another {name}")

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, z: Tensor, pos: Tensor, graph: Graph) -> Potential:
        """As `Predictor.potential`."""
        arguments = graph.derived("as a program takes it", _arguments)
        charge = graph.charge
        if charge is None:
            charge = torch.zeros_like(graph.atoms_per_molecule)
        last = (charge,) if self._takes_charge else ()
        found = self._library(z, pos.double(), *arguments, *last)
        return Potential(**{name: found.get(name) for name in Potential._fields})  # type: ignore[arg-type]


def missing(device: torch.device) -> str | None:
    """Why nothing can be compiled here, or None.

    Args:
        device: of the model.
    """
    if device.type != "cpu":
        return (
            f"models are compiled for a CPU, and this one is on {device.type}, where steps are "
            "replayed as CUDA graphs: leave it out"
        )
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler.split()[0]) is None:
        return (
            f"a C++ compiler is needed, and there is no {compiler}: install it (on Debian and "
            "Ubuntu `apt install g++`), name another one by $CXX, or leave this out"
        )
    return None


def is_compiled(model: Predictor) -> bool:
    """Whether the library of a model's energy and forces is there already."""
    return library_file(model, strain=False).exists()


def library_file(model: Predictor, strain: bool) -> Path:
    """Where the library of a model is kept, whether or not it is there.

    Args:
        model: on the CPU.
        strain: with the derivative by the strain.
    """
    known = model.expected_errors
    about = {
        "weights": weights_digest(model),
        "errors": known
        and [hashlib.sha256(t.numpy().tobytes()).hexdigest() for t in known.tensors().values()],
        "config": model.config,
        "dtype": str(next(model.parameters()).dtype),
        "strain": strain,
        "code": [VERSION, torch.__version__, _code(), _source(type(model.backbone))],
        "processor": [platform.machine(), torch.backends.cpu.get_cpu_capability(), _features()],
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return data_dir() / FOLDER / f"{key[:32]}.pt2"


@functools.cache
def _code() -> str:
    """Hash of what a program is made of, which may be edited without another version."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for room in ("graph", "models", "ops", "predictor", "runtime"):
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _source(backbone: type) -> str:
    """A backbone's own source, which may lie outside of the package."""
    try:
        return inspect.getsource(inspect.getmodule(backbone) or backbone)
    except (OSError, TypeError):
        return ""


def _features() -> dict[str, Any]:
    """What this processor can do: a library runs on no other."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    return dict(tell()) if tell else {"processor": platform.processor()}


def _make(model: Predictor, strain: bool, file: Path) -> None:
    """Compile a model, and keep it in a file."""
    from molgeo.predictor.program import Program, exported

    own = copy.deepcopy(model).requires_grad_(False).eval()
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, file.with_name(f"{file.stem}.{os.getpid()}.pt2")) as part, _quiet():
        program = exported(Program(own, forces=True, strain=strain))
        if onednn_is_faster("highest"):
            _multiply_by_onednn(program)
        # Threads would wait for each other at every loop; memory that is asked for at once is not
        # given back to the system in between.
        options = {"cpp.threads": 1, "memory_planning": True}
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(part), inductor_configs=options
        )


def _load(file: Path) -> Library:
    with _quiet():
        library: Library = torch._inductor.aoti_load_package(str(file))
    return library


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch warns of parts of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _arguments(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of atoms, pairs and lattice translations of a graph."""
    first, second = graph.source[graph.forward], graph.target[graph.forward]
    if graph.offset is None:
        offset = torch.zeros(len(first), 3, dtype=torch.float64)
    else:
        offset = graph.offset[graph.forward].double()
    return graph.atoms_per_molecule, torch.stack([first, second]), offset


def _multiply_by_onednn(program: torch.export.ExportedProgram) -> None:
    """Leave products of atoms' features and weights to oneDNN, as `molgeo.ops.dense` does."""
    graph = program.graph_module.graph
    given = set(program.graph_signature.user_inputs)
    (n_atoms,) = (len(z) for z in program.example_inputs[0][:1])
    for node in list(graph.nodes):
        if node.target not in PRODUCTS:
            continue
        *bias, rows, matrix = node.args
        weight = matrix
        while weight.target in SAME_MATRIX:
            weight = weight.args[0]
        value, n_rows = matrix.meta["val"], rows.meta["val"].shape[0]
        per_atom = getattr(getattr(n_rows, "node", None), "hint", n_rows) / n_atoms
        is_weight = weight.op == "placeholder" and weight.name not in given
        is_large = per_atom * value.numel() >= LEAST_PER_ATOM and value.shape[1] >= NARROW
        if not (is_weight and is_large and value.dtype == torch.float32):
            continue
        with graph.inserting_before(node):
            turned = graph.call_function(torch.ops.aten.t.default, (matrix,))
            turned.meta["val"] = value.t()
            arguments: tuple[Any, ...] = rows, turned, bias[0] if bias else None, "none", [], ""
            product = graph.call_function(torch.ops.mkldnn._linear_pointwise.default, arguments)
            product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
