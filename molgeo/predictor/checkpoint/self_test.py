"""What a model answered when it was written, asked again when it is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch

from molgeo.predictor.header import SelfTest
from molgeo.predictor.predictor import Predictor
from molgeo.runtime.precision import matmul_precision

TOLERANCE: Final = 1e-3
"""Of each property's scale."""

MOST_NUMBERS: Final = 2**26
"""Of a table of all pairs of a self-test's atoms and the model's widest layer."""


def make(predictor: Predictor) -> SelfTest:
    """A small molecule of every element of the predictor's domain, and the outputs it gives here.

    Raises:
        ValueError: an output is not finite.
    """
    assert predictor.domain is not None
    z = [n for n in predictor.domain.elements for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    # Atoms on a helix, 1.2 Å apart or more: no symmetry, no linear angle.
    angle = torch.arange(len(z), dtype=torch.float64) * 1.9
    pos = torch.stack([1.1 * angle.cos(), 1.1 * angle.sin(), 0.35 * angle], dim=-1)
    pos = pos + 0.05 * torch.rand(pos.shape, generator=generator, dtype=torch.float64)
    pos = (pos * 1e4).round() / 1e4
    outputs = _outputs(predictor, z, pos.tolist())
    nan = [name for name in predictor.property_names if not math.isfinite(outputs[name])]
    if nan:
        raise ValueError(f"checkpoint: the predictor gives {outputs[nan[0]]} for {nan[0]}")
    known = {name: v if math.isfinite(v) else None for name, v in outputs.items()}
    return SelfTest(z=z, pos=[(x, y, w) for x, y, w in pos.tolist()], outputs=known)


def run(predictor: Predictor, test: SelfTest) -> None:
    """Compare a predictor with its outputs at the time of writing.

    Raises:
        ValueError: an output is another one, or the test is too large for the model.
    """
    widest = max(max(p.shape, default=1) for p in predictor.parameters())
    if len(test.z) ** 2 * widest > MOST_NUMBERS:
        raise ValueError(f"self_test.z: {len(test.z)} atoms are too many for layers of {widest}")
    outputs = _outputs(predictor, test.z, test.pos)
    scales = dict(zip(predictor.properties, predictor.scale.tolist(), strict=True))
    for name, expected in test.outputs.items():
        known = predictor.outputs.get(name)
        if known is None:
            raise ValueError(f"self_test.outputs: the model gives no {name}")
        if expected is None:
            continue
        tolerance = TOLERANCE * scales[known.total or known]
        if not abs(outputs[name] - expected) <= tolerance:
            raise ValueError(
                f"self-test failed, {known.column} should be {expected:.6g} "
                f"and is {outputs[name]:.6g}"
            )


def _outputs(predictor: Predictor, z: list[int], pos: Sequence[Any]) -> dict[str, float]:
    """What a predictor gives in evaluation mode, whatever mode and precision a run has set.

    Without the bounds of its properties, as a value that is cut off tells nothing of the weights.
    """
    device, training = predictor.scale.device, predictor.training
    numbers = torch.tensor(z, device=device)
    positions = torch.tensor(pos, dtype=torch.float32, device=device)
    predictor.eval()
    try:
        with matmul_precision(), torch.autocast(device.type, enabled=False), torch.no_grad():
            out = predictor.unbounded(numbers, positions)
    finally:
        predictor.train(training)
    return {name: float(value) for name, value in out.items()}
