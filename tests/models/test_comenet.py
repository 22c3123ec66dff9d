"""ComENet against its equations, written as loops over angles."""

import itertools
import math

import pytest
import torch
from compounds import compound
from devices import placed
from learning import losses_of
from numpy.polynomial import Legendre
from scipy.special import factorial, spherical_jn
from torch import Tensor
from torch.nn.functional import layer_norm, silu
from unruly import assert_finite

from molgeo.graph import radius_graph
from molgeo.models.comenet import ComENet

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {"hidden": 8, "middle": 5, "n_blocks": 2, "n_residual": 2, "n_output_layers": 1}

ROOTS = {0: (1, 2, 3), 1: (1.4302966531242027, 2.4590240361706, 3.470889734186)}
"""Zeros of j_l over π, of Abramowitz and Stegun's table 10.6; found anew by Newton's method."""


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


class Oracle:
    """The paper's equations for one molecule, one edge at a time, with the model's weights."""

    def __init__(self, model: ComENet, z: Tensor, pos: Tensor) -> None:
        self.c = model.config
        self.w = {name: value.detach() for name, value in model.state_dict().items()}
        self.z, self.pos = z, pos
        n = range(len(z))
        self.d = (pos[:, None] - pos[None]).norm(dim=-1)
        self.near = {
            i: sorted(
                (j for j in n if j != i and self.d[i, j] < self.c.cutoff),
                key=lambda j, i=i: float(self.d[i, j]),
            )
            for i in n
        }

    def dense(self, name: str, x: Tensor, activated: bool = False) -> Tensor:
        y = self.w[f"{name}.weight"] @ x
        y = y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y
        return silu(y) if activated else y

    def to(self, i: int, j: int) -> Tensor:
        return (self.pos[j] - self.pos[i]) / self.d[i, j]

    def radial(self, l: int, d: float) -> list[float]:
        x = d / self.c.cutoff
        u = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8 if self.c.smooth else 1.0
        roots = _roots(l)[: self.c.n_radial]
        return [u * math.sqrt(2) / abs(_j(l + 1, root)) * _j(l, root * x) for root in roots]

    def harmonics(self, i: int, j: int) -> list[tuple[int, float]]:
        """The order l and the value of each harmonic of j's angles about the nearest two of i."""
        v = self.to(i, j)
        if self.c.smooth:
            x, y, z = self.coordinates(i, v)
            size, phi = math.hypot(x, y), math.atan2(y, x)
        else:
            f = self.to(i, self.near[i][0])
            z, phi = float(v @ f), 0.0
            size = math.sqrt(max(0.0, 1 - z * z))
            if len(self.near[i]) > 1 and size > 1e-6:
                phi = _dihedral(self.to(i, self.near[i][1]), f, v)
        found = []
        for l in range(self.c.n_spherical):
            for m in range(0 if self.c.smooth else -l, l + 1):
                about = math.cos(m * phi) if m >= 0 else math.sin(-m * phi)
                found.append((l, _legendre(l, abs(m), z) * size ** abs(m) * about))
        return found

    def coordinates(self, i: int, v: Tensor) -> list[float]:
        f, s = self.weighed(i, 2.0), self.weighed(i, 1.0)
        f, s = f / math.sqrt(f @ f + 0.0025), s / math.sqrt(s @ s + 0.0025)
        normal = torch.linalg.cross(f, s)
        return [float(v @ axis) for axis in (torch.linalg.cross(normal, f), normal, f)]

    def weighed(self, i: int, rate: float) -> Tensor:
        total = torch.zeros(3)
        for j in self.near[i]:
            d = float(self.d[i, j])
            x = d / self.c.cutoff
            u = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
            total = total + u * math.exp(rate * (1 - d)) * self.to(i, j)
        return total

    def cosine(self, i: int, j: int) -> float:
        """cos τ, with the nearest neighbours of i and j that are not the other one."""
        axis, parts = self.to(i, j), []
        for here, there in ((i, j), (j, i)):
            others = [k for k in self.near[here][:2] if k != there]
            if self.c.smooth:
                part = self.weighed(here, 2.0)
            elif others:
                part = self.to(here, others[0])
            else:
                return 0.0
            part = part - (part @ axis) * axis
            extra = 0.0025 if self.c.smooth else 0.0
            parts.append(part / math.sqrt(part @ part + extra))
        return float(parts[0] @ parts[1])

    def convolution(self, name: str, x: list[Tensor], functions: dict) -> list[Tensor]:
        found = []
        for i in range(len(self.z)):
            total = torch.zeros(self.c.hidden)
            for j in self.near[i]:
                e = torch.tensor(functions[i, j])
                filters = self.dense(f"{name}.second", self.dense(f"{name}.first", e))
                total = total + filters * x[j]
            new = self.dense(f"{name}.neighbours", total) + self.dense(f"{name}.own", x[i])
            found.append(self.dense(f"{name}.after", new, True))
        return found

    def features(self) -> Tensor:
        edges = [(i, j) for i in self.near for j in self.near[i]]
        local, torsion = {}, {}
        for i, j in edges:
            d = float(self.d[i, j])
            local[i, j] = [r * y for l, y in self.harmonics(i, j) for r in self.radial(l, d)]
            cosine = self.cosine(i, j)
            orders = range(self.c.n_spherical)
            torsion[i, j] = [r * _legendre(l, 0, cosine) for l in orders for r in self.radial(l, d)]
        x = [self.w["embedding.weight"][z] for z in self.z]
        for n in range(self.c.n_blocks):
            x = self.block(f"blocks.{n}", x, local, torsion)
        return torch.stack(x)

    def block(self, name: str, x: list[Tensor], local: dict, torsion: dict) -> list[Tensor]:
        x = [self.dense(f"{name}.itself", one, True) for one in x]
        a = self.convolution(f"{name}.local", x, local)
        b = self.convolution(f"{name}.torsion", x, torsion)
        new = []
        for own, first, second in zip(x, a, b, strict=True):
            h = own + self.dense(f"{name}.both", torch.cat([first, second]))
            for k in range(self.c.n_residual):
                h = h + self.dense(f"{name}.residual.{k}", h, True)
            norm = self.w[f"{name}.norm.weight"], self.w[f"{name}.norm.bias"]
            new.append(self.dense(f"{name}.last", layer_norm(h, h.shape, *norm)))
        return new


def _roots(l: int) -> list[float]:
    found = []
    for root in ROOTS[l]:
        x = math.pi * root
        for _ in range(8):
            x -= _j(l, x) / float(spherical_jn(l, x, derivative=True))
        found.append(x)
    return found


def _j(l: int, x: float) -> float:
    return float(spherical_jn(l, x))


def _legendre(l: int, m: int, z: float) -> float:
    """The factor of z of an orthonormal real harmonic, without (1 − z²)^(m/2)."""
    ratio = factorial(l - m) / factorial(l + m) * (2 if m else 1)
    norm = math.sqrt((2 * l + 1) / (4 * math.pi) * ratio)
    return norm * float(Legendre.basis(l).deriv(m)(z))


def _dihedral(a: Tensor, axis: Tensor, b: Tensor) -> float:
    """The angle from a to b about an axis, anticlockwise if it points at who looks."""
    first = a - (a @ axis) * axis
    second = torch.linalg.cross(axis, first)
    return math.atan2(float(b @ second), float(b @ first))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("name", ["CH3CH2OH", "CH4", "H2O", "OH"])
def test_agrees_with_loops_over_angles(name: str, smooth: bool) -> None:
    model = placed(ComENet(**SMALL, smooth=smooth, cutoff=2.4, n_out=2))
    for norm in (block.norm for block in model.blocks):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    z, pos = compound(name)
    pos = pos + 0.1 * torch.randn(pos.shape)  # nothing in a plane, on a line, or equally near
    found = model.atom_features(z, pos, radius_graph(pos, model.cutoff))
    expected = Oracle(model, z, pos).features()
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_the_published_size() -> None:
    """The paper says 4.2 million."""
    assert sum(p.numel() for p in ComENet().parameters()) == 4_184_833
    assert sum(p.numel() for p in ComENet(smooth=True).parameters()) == 4_181_761


def steps_of_energy(smooth: bool) -> Tensor:
    """How the energy changes while the second neighbour becomes the nearest, in even steps."""
    model = placed(ComENet(**SMALL, smooth=smooth, cutoff=4.0))
    length = torch.linspace(0.99, 1.01, 400)
    moving = torch.stack([0 * length, length, 0 * length], dim=-1)
    others = torch.tensor([[0, 0, 0], [1, 0, 0], [-0.8, -0.7, 0.9], [0.3, 0.4, -1.5]])
    pos = torch.cat([others.expand(400, 4, 3), moving.unsqueeze(1)], dim=1).flatten(0, 1)
    z, batch = torch.tensor([6, 1, 9, 7, 17]).repeat(400), torch.arange(400).repeat_interleave(5)
    with torch.no_grad():
        return model(z, pos, batch).squeeze(1).diff().abs()


def test_as_published_the_energy_jumps_and_the_smooth_one_does_not() -> None:
    steps = steps_of_energy(smooth=False)
    assert steps.max() > 100 * steps.median()
    steps = steps_of_energy(smooth=True)
    assert steps.max() < 3 * steps.median()
    assert not ComENet(**SMALL).is_smooth
    assert ComENet(**SMALL, smooth=True).is_smooth


@pytest.mark.parametrize("smooth", [False, True])
def test_nothing_is_infinite(smooth: bool) -> None:
    """A thousand crowded, linear, planar and periodic structures, to the second derivatives."""
    model = placed(ComENet(**SMALL, smooth=smooth, cutoff=2.5))
    assert_finite(model)


@pytest.mark.parametrize("smooth", [False, True])
def test_learns(smooth: bool) -> None:
    model = placed(ComENet(**SMALL, smooth=smooth))
    losses = losses_of(model)
    assert losses[-1] < 0.02 * losses[0]


def test_no_atom_is_its_own_second_neighbour() -> None:
    """Two atoms have no torsion, and a change of their distance is all that there is."""
    model = placed(ComENet(**SMALL))
    energies = []
    for length, turn in itertools.product((1.0, 1.2), (0.0, 1.0)):
        end = length * torch.tensor([math.cos(turn), math.sin(turn), 0.0])
        energies.append(float(model(torch.tensor([6, 8]), torch.stack([0 * end, end])).detach()))
    assert energies[0] == pytest.approx(energies[1])
    assert energies[2] == pytest.approx(energies[3])
    assert energies[0] != pytest.approx(energies[2])
