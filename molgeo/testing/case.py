"""What is checked, on which molecules, and how two results are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from molgeo.elements import SYMBOLS
from molgeo.graph import Graph
from molgeo.models import Backbone
from molgeo.predictor import Predictor
from molgeo.properties import Property

Atoms = tuple[Tensor, Tensor]
"""(atoms,) atomic numbers and (atoms, 3) positions in Å."""

PROPERTIES: Final = (
    Property("energy", "eV", "sum", is_energy=True),
    *(Property(kind, "", kind) for kind in ("mean", "orbital", "dipole", "extent", "moments")),
)
"""One for each kind of head."""

MOLECULES: Final = {
    "methanol": "C -.047 .664 0 O -.047 -.758 0 H -1.093 .97 0 H .878 -1.046 0 "
    "H .438 1.072 .889 H .438 1.072 -.889",
    "ammonia": "N 0 0 .116 H 0 .94 -.271 H .814 -.47 -.271 H -.814 -.47 -.271",
    "water": "O 0 0 .119 H 0 .763 -.477 H 0 -.763 -.477",
    "carbon dioxide": "C 0 0 0 O 0 0 1.179 O 0 0 -1.179",
    "acetylene": "C 0 0 .608 C 0 0 -.608 H 0 0 1.674 H 0 0 -1.674",
    "ethylene": "C 0 0 .668 C 0 0 -.668 H 0 .923 1.238 H 0 -.923 1.238 H 0 .923 -1.238 "
    "H 0 -.923 -1.238",
    "one atom": "O .3 -1 2",
    "two atoms apart": "C 0 0 0 H 300 0 0",
}
"""A chain, a pyramid, lines, planes, and atoms without neighbours: symbols and Å."""


def atoms_of(name: str) -> Atoms:
    """A molecule, in float64."""
    words = MOLECULES[name].split()
    z = torch.tensor([SYMBOLS.index(symbol) for symbol in words[::4]])
    axes = [[float(word) for word in words[k::4]] for k in (1, 2, 3)]
    return z, torch.tensor(axes, dtype=torch.float64).T.contiguous()


def collated(molecules: Sequence[Atoms]) -> tuple[Tensor, Tensor, Tensor]:
    """Molecules as one batch: z, pos, batch."""
    sizes = torch.tensor([len(z) for z, _ in molecules])
    batch = torch.repeat_interleave(torch.arange(len(molecules)), sizes)
    return torch.cat([z for z, _ in molecules]), torch.cat([pos for _, pos in molecules]), batch


def distorted(pos: Tensor) -> Tensor:
    """Positions without symmetry, a twentieth of an Å from what they were."""
    generator = torch.Generator().manual_seed(3)
    return pos + 0.05 * torch.randn(pos.shape, generator=generator, dtype=pos.dtype)


@dataclass(frozen=True)
class Subject:
    """Something that maps atoms to (molecules, columns), the first of which is a sum.

    Attributes:
        name: for messages.
        module: a published model, or a predictor.
        kinds: how each column is pooled, as `molgeo.predictor.heads` names it.
    """

    name: str
    module: Any
    kinds: Sequence[str]

    def __call__(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        graph: Graph | None = None,
        charge: Tensor | None = None,
    ) -> Tensor:
        """Return (molecules, columns), where the positions are; computed where the module is."""
        there = next(self.module.parameters()).device
        inputs = [None if x is None else x.to(there) for x in (z, pos, batch, graph)]
        more = {} if charge is None else {"charge": charge.to(there)}
        out = self.module(*inputs, **more)
        out = torch.stack(list(out.values()), dim=-1) if isinstance(out, dict) else out
        return out.to(pos.device)

    def forces(self, z: Tensor, pos: Tensor, *others: Any) -> Tensor:
        """(atoms, 3) the negative gradient of the first column."""
        pos = pos.detach().requires_grad_()
        return -torch.autograd.grad(self(z, pos, *others)[:, 0].sum(), pos)[0]


@dataclass(frozen=True)
class Case:
    """A backbone to check.

    Attributes:
        cls: its class.
        fields: of its config.
        device: where the backbone computes.
    """

    cls: type[Backbone]
    fields: Mapping[str, Any]
    device: torch.device | str = "cpu"

    def model(self, **overrides: Any) -> Backbone:
        """The published model with random weights, in float64."""
        torch.manual_seed(0)
        return _randomised(self.cls(**{**self.fields, **overrides})).to(self.device)

    def predictor(self) -> Predictor:
        """A predictor of one property of each kind with random weights, in float64."""
        torch.manual_seed(0)
        predictor = _randomised(Predictor(self.cls, dict(self.fields), PROPERTIES, 8))
        predictor.baseline.normal_()
        predictor.scale.uniform_(0.5, 2.0)
        return predictor.to(self.device)

    @property
    def exactly(self) -> float:
        """How far two runs of the same may be apart: a card adds in any order."""
        return 0.0 if torch.device(self.device).type == "cpu" else 1e-6

    def subjects(self) -> list[Subject]:
        """The backbone as a published model and under molgeo's heads."""
        predictor = self.predictor()
        return [
            Subject("the published model", self.model(n_out=2), ("sum", "sum")),
            Subject("the predictor", predictor, predictor.heads.kinds),
        ]


def _randomised(module: Any) -> Any:
    """Let no weight be zero: freshly built models may start with a readout that gives nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            size = float(parameter.square().mean().sqrt())
            parameter.add_(0.1 * (size or 1.0) * torch.randn(parameter.shape))
    return module.double().eval()


def same(what: str, found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Assert that two tensors agree to a part of the largest number, here that of rounding."""
    shape, wanted = tuple(found.shape), tuple(expected.shape)
    assert shape == wanted, f"{what}: expected the shape {wanted}, got {shape}"
    if expected.numel():
        size, deviation = (float(x.detach().abs().max()) for x in (expected, found - expected))
        assert deviation <= tolerance * size, (
            f"{what}: the deviation is {deviation:.2g}, expected at most {tolerance:.0e} of the "
            f"largest value, {size:.2g}"
        )
