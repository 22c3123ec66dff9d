"""Every model, small and with random weights, as itself and inside a Predictor."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import pytest
import torch
from ase.build import molecule
from torch import Tensor, nn

from molgeo import models
from molgeo.data.qm9.properties import NAMES, named
from molgeo.predictor import Predictor

CUTOFF = 4.0
Atoms = tuple[Tensor, Tensor]


@cache
def small_fields(name: str) -> dict[str, Any]:
    """A small version of any model: no wider than 16, no deeper than 2, with a short cutoff."""
    config = models.model_class(name)().config
    small: dict[str, Any] = {"cutoff": CUTOFF}
    for field in fields(config):
        value = getattr(config, field.name)
        if type(value) is int:
            small[field.name] = min(value, 2 if field.name == "n_blocks" else 16)
    return small


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Let no weight be zero: freshly built models may start with a readout that gives nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def build_model(name: str, **overrides: Any) -> nn.Module:
    torch.manual_seed(0)
    return randomise(models.build(name, small_fields(name) | overrides))


def build_predictor(name: str, names: tuple[str, ...] = NAMES) -> Predictor:
    torch.manual_seed(0)
    predictor = Predictor(name, small_fields(name), named(names), head_features=8)
    randomise(predictor)
    generator = torch.Generator().manual_seed(1)
    predictor.baseline.normal_(generator=generator)
    predictor.scale.uniform_(0.5, 2.0, generator=generator)
    predictor.atom_reference.normal_(generator=generator)
    return predictor


@dataclass
class Subject:
    """Something that maps atoms to (molecules, columns), with the kind of each column."""

    module: nn.Module
    kinds: list[str]

    def __call__(self, z: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        out = self.module(z, pos, batch)
        return torch.stack(list(out.values()), dim=-1) if isinstance(out, dict) else out


@pytest.fixture(params=models.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str) -> nn.Module:
    return build_model(name).double()


@pytest.fixture
def predictor(name: str) -> Predictor:
    return build_predictor(name).double()


@pytest.fixture(params=["published", "with heads"])
def subject(request: pytest.FixtureRequest, model: nn.Module, predictor: Predictor) -> Subject:
    if request.param == "published":
        return Subject(model, ["sum"] * model.config.n_out)
    # H = U + kT holds for a molecule, hence not for the sum of two.
    totals = [(one.total or one) for one in predictor.outputs.values()]
    coupled = ("u298", "h298")
    return Subject(predictor, ["coupled" if one.name in coupled else one.head for one in totals])


@pytest.fixture
def build() -> Callable[..., nn.Module]:
    return build_model


@pytest.fixture
def build_with_heads() -> Callable[..., Predictor]:
    return build_predictor


@pytest.fixture
def atoms_of() -> Callable[[str], Atoms]:
    """Atomic numbers and positions of a molecule of the G2 set."""

    def get(formula: str) -> Atoms:
        atoms = molecule(formula)
        return torch.tensor(atoms.numbers), torch.tensor(atoms.positions)

    return get


@pytest.fixture
def collate() -> Callable[[list[Atoms]], tuple[Tensor, Tensor, Tensor]]:
    def join(molecules: list[Atoms]) -> tuple[Tensor, Tensor, Tensor]:
        sizes = torch.tensor([len(z) for z, _ in molecules])
        batch = torch.repeat_interleave(torch.arange(len(molecules)), sizes)
        return torch.cat([z for z, _ in molecules]), torch.cat([x for _, x in molecules]), batch

    return join


@pytest.fixture
def mixture(atoms_of: Callable[[str], Atoms]) -> list[Atoms]:
    """Chain, ring, line, two atoms, one atom and two atoms that do not see each other."""
    names = ["CH3CH2OH", "C6H6", "CO2", "OH", "NH3"]
    lone = (torch.tensor([8]), torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64))
    apart = (torch.tensor([6, 1]), torch.tensor([[0.0, 0, 0], [9, 0, 0]], dtype=torch.float64))
    return [*(atoms_of(name) for name in names[:2]), lone, apart, *map(atoms_of, names[2:])]
