"""PaiNN against the paper's equations, written as loops; how its vectors turn."""

import math

import pytest
import torch
from compounds import compound
from devices import placed
from learning import losses_of
from torch import Tensor
from torch.nn.functional import silu
from unruly import assert_finite

from molgeo.graph import radius_graph
from molgeo.models import painn
from molgeo.models.painn import PaiNN

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {"n_features": 8, "n_blocks": 3, "n_radial": 6, "cutoff": 2.4}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


class Oracle:
    """The paper's equations for one molecule, one pair at a time, with the model's weights."""

    def __init__(self, model: PaiNN, z: Tensor, pos: Tensor) -> None:
        self.c = model.config
        self.w = {name: value.detach() for name, value in model.state_dict().items()}
        self.z, self.pos = z, pos

    def dense(self, name: str, x: Tensor) -> Tensor:
        y = self.w[f"{name}.weight"] @ x
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def network(self, name: str, x: Tensor) -> tuple[Tensor, ...]:
        """Three parts of a two-layer network."""
        return self.dense(f"{name}.parts", silu(self.dense(f"{name}.hidden", x))).split(
            self.c.n_features
        )

    def features(self) -> tuple[Tensor, Tensor]:
        atoms = range(len(self.z))
        s = [self.w["embedding.weight"][z] for z in self.z]
        v = [torch.zeros(3, self.c.n_features) for _ in atoms]
        for n in range(self.c.n_blocks):
            new = [self.message(f"messages.{n}", i, s, v) for i in atoms]
            s = [s[i] + change for i, (change, _) in enumerate(new)]
            v = [v[i] + change for i, (_, change) in enumerate(new)]
            for i in atoms:
                s[i], v[i] = self.update(f"updates.{n}", s[i], v[i])
        return torch.stack(s), torch.stack(v)

    def message(self, name: str, i: int, s: list, v: list) -> tuple[Tensor, Tensor]:
        of_s, of_v = torch.zeros(self.c.n_features), torch.zeros(3, self.c.n_features)
        for j in range(len(self.z)):
            way = self.pos[j] - self.pos[i]
            d = math.sqrt(float(way @ way))
            if j == i or d >= self.c.cutoff:
                continue
            waves = [math.sin(n * math.pi * d / self.c.cutoff) / d for n in self.numbers()]
            fade = 0.5 * (math.cos(math.pi * d / self.c.cutoff) + 1)
            filters = self.dense(f"{name}.filter", torch.tensor(waves)) * fade
            phi = torch.cat(self.network(name, s[j]))
            scalar, carried, along = (phi * filters).split(self.c.n_features)
            of_s = of_s + scalar
            for axis in range(3):
                of_v[axis] += v[j][axis] * carried + float(way[axis]) / d * along
        return of_s, of_v

    def numbers(self) -> range:
        return range(1, self.c.n_radial + 1)

    def update(self, name: str, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        mixed = [self.dense(f"{name}.mixtures", v[axis]) for axis in range(3)]
        p, q = torch.stack(mixed).split(self.c.n_features, dim=1)
        a_s, a_p, a_v = self.network(name, torch.cat([s, q.norm(dim=0)]))
        return s + a_s + a_p * (p * q).sum(0), v + torch.stack([a_v * p[axis] for axis in range(3)])


@pytest.mark.parametrize("name", ["CH3CH2OH", "CO2", "C2H2", "OH", "CH4"])
def test_agrees_with_the_papers_equations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painn, "LEAST_LENGTH", 0.0)
    model = placed(PaiNN(**SMALL, n_out=None))
    for bias in (p for n, p in model.named_parameters() if n.endswith("bias")):
        torch.nn.init.normal_(bias)
    z, pos = compound(name)
    found = model.scalars_and_vectors(z, pos, radius_graph(pos, model.cutoff))
    expected = Oracle(model, z, pos).features()
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_the_published_size() -> None:
    """The paper says 600 thousand."""
    assert sum(p.numel() for p in PaiNN().parameters()) == 589_057


@pytest.mark.parametrize("hand", [1.0, -1.0])
def test_vectors_turn_with_the_molecule(hand: float) -> None:
    """And are mirrored with it; scalars stay."""
    model = placed(PaiNN(**SMALL, n_out=None))
    turn, _ = torch.linalg.qr(torch.randn(3, 3))
    turn = turn * (hand * torch.linalg.det(turn)).sign()
    z, pos = compound("CH3CH2OH")
    s, v = model.scalars_and_vectors(z, pos, radius_graph(pos, model.cutoff))
    pos = pos @ turn.T + torch.tensor([1.0, -2.0, 3.0])
    turned_s, turned_v = model.scalars_and_vectors(z, pos, radius_graph(pos, model.cutoff))
    assert v.abs().amax((1, 2)).min() > 1e-3
    torch.testing.assert_close(turned_s, s)
    torch.testing.assert_close(turned_v, torch.einsum("xy,ayf->axf", turn, v))


def change_of_force(model: PaiNN, step: float) -> float:
    """How the force on carbon changes while it passes the middle between two oxygens."""
    z, pos = compound("CO2")
    forces = []
    for side in (-step, step):
        x = (pos + side * (z == 6).unsqueeze(1) * torch.tensor([1.0, 2.0, 3.0])).requires_grad_()
        forces.append(torch.autograd.grad(model(z, x).sum(), x)[0])
    return float((forces[1] - forces[0]).abs().max())


def test_forces_are_continuous_where_the_vectors_of_an_atom_are_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = placed(PaiNN(**SMALL))
    assert change_of_force(model, 1e-6) < 1e-3 * change_of_force(model, 1e-2)
    monkeypatch.setattr(painn, "LEAST_LENGTH", 0.0)  # as published they jump
    assert change_of_force(model, 1e-6) > 1e-1 * change_of_force(model, 1e-2)


def test_nothing_is_infinite() -> None:
    """A thousand crowded, linear, planar and periodic structures, to the second derivatives."""
    assert_finite(placed(PaiNN(**SMALL)))


def test_learns() -> None:
    losses = losses_of(placed(PaiNN(**SMALL)))
    assert losses[-1] < 0.02 * losses[0]
