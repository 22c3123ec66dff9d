"""SphereNet against its equations, written as loops over angles; what it sees and what not."""

import itertools
import math

import pytest
import torch
from compounds import compound
from devices import placed
from learning import losses_of
from pairs import BONDS, diastereomers, difference, enantiomers, hydrogen_peroxides, waters
from scipy.optimize import brentq
from scipy.special import factorial, lpmv, spherical_jn
from torch import Tensor
from torch.nn.functional import silu
from unruly import assert_finite

from molgeo.graph import radius_graph
from molgeo.models.dimenet_pp import DimeNetPlusPlus
from molgeo.models.spherenet import SphereNet
from molgeo.ops import recompute, torsions

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {"hidden": 8, "n_blocks": 2, "int_emb": 6, "basis_emb": 4, "out_emb": 5, "n_radial": 3}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


class Oracle:
    """The paper's equations for one molecule, one triplet at a time, with the model's weights."""

    def __init__(self, model: SphereNet, z: Tensor, pos: Tensor) -> None:
        self.c = model.config
        self.w = {name: value.detach() for name, value in model.state_dict().items()}
        self.z, self.pos = z, pos
        n = range(len(z))
        self.d = (pos[:, None] - pos[None]).norm(dim=-1)
        self.near = {j: [i for i in n if i != j and self.d[i, j] < self.c.cutoff] for j in n}
        self.edges = [(j, i) for j in n for i in self.near[j]]
        self.roots = [_roots(l, self.c.n_radial) for l in range(self.c.n_spherical)]

    def dense(self, name: str, x: Tensor, activated: bool = False) -> Tensor:
        y = self.w[f"{name}.weight"] @ x
        y = y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y
        return silu(y) if activated else y

    def residual(self, name: str, x: Tensor) -> Tensor:
        return x + self.dense(f"{name}.dense2", self.dense(f"{name}.dense1", x, True), True)

    def rbf(self, d: float) -> Tensor:
        x, p = d / self.c.cutoff, self.c.envelope_exponent + 1
        a, b, c = -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2
        u = 1 / x + a * x ** (p - 1) + b * x**p + c * x ** (p + 1)
        return u * torch.sin(self.w["radial.frequencies"] * x)

    def radial(self, l: int, d: float) -> list[float]:
        norms = [math.sqrt(2) / abs(spherical_jn(l + 1, root)) for root in self.roots[l]]
        pairs = zip(norms, self.roots[l], strict=True)
        return [norm * spherical_jn(l, root * d / self.c.cutoff) for norm, root in pairs]

    def angles(self, j: int, i: int) -> dict[int, tuple[float, float]]:
        """θ and the azimuth of each neighbour k of j but i, about the edge j→i."""
        axis = (self.pos[i] - self.pos[j]) / self.d[i, j]
        some = torch.tensor([0.3, -0.5, 0.8])
        first = some - (some @ axis) * axis
        first = first / first.norm()
        second = torch.linalg.cross(axis, first)
        found = {}
        for k in self.near[j]:
            if k != i:
                v = (self.pos[k] - self.pos[j]) / self.d[k, j]
                theta = math.acos(max(-1.0, min(1.0, float(v @ axis))))
                found[k] = theta, math.atan2(float(v @ second), float(v @ first))
        return found

    def harmonics(self, j: int, i: int) -> dict[int, list[tuple[int, float]]]:
        """For each k the order l and the value of each harmonic of its two angles."""
        angles = self.angles(j, i)
        found = {}
        for k, (theta, phi) in angles.items():
            gaps = [(other - phi) % (2 * math.pi) for _, other in angles.values()]
            gap = min((one for one in gaps if one > 1e-9), default=0.0)
            found[k] = []
            for l in range(self.c.n_spherical):
                for m in range(0 if self.c.smooth else -l, l + 1):
                    about = math.cos(m * gap) if m >= 0 else math.sin(-m * gap)
                    if self.c.smooth and m:
                        about = self.reference(j, m, phi, angles)
                    found[k].append((l, _legendre(l, abs(m), theta) * about))
        return found

    def reference(
        self, j: int, m: int, phi: float, angles: dict[int, tuple[float, float]]
    ) -> float:
        """The weighed cosines of all torsions from φ, in place of cos mφ."""
        total = 0.0
        for k, (theta, other) in angles.items():
            x = float(self.d[j, k]) / self.c.cutoff
            weight = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
            total += (
                weight * math.sin(theta) ** m * complex(math.cos(m * other), math.sin(m * other))
            )
        turned = total * complex(math.cos(m * phi), -math.sin(m * phi))
        return turned.real / math.sqrt(1 + abs(total) ** 2)

    def message(self, name: str, x: dict, j: int, i: int) -> Tensor:
        total = torch.zeros(self.c.int_emb)
        for k, values in self.harmonics(j, i).items():
            d = float(self.d[j, k])
            x_kj = self.dense(f"{name}.kj", x[k, j], True)
            x_kj = x_kj * self.dense(f"{name}.rbf2", self.dense(f"{name}.rbf1", self.rbf(d)))
            x_kj = self.dense(f"{name}.down", x_kj, True)
            tbf = torch.tensor([r * y for l, y in values for r in self.radial(l, d)])
            theta = self.angles(j, i)[k][0]
            orders = range(self.c.n_spherical)
            sbf = [r * _legendre(l, 0, theta) for l in orders for r in self.radial(l, d)]
            sbf = self.dense(f"{name}.sbf2", self.dense(f"{name}.sbf1", torch.tensor(sbf)))
            tbf = self.dense(f"{name}.tbf2", self.dense(f"{name}.tbf1", tbf))
            total = total + x_kj * sbf * tbf
        return total

    def interaction(self, n: int, x: dict) -> dict:
        name, new = f"interactions.{n}", {}
        for j, i in self.edges:
            up = self.dense(f"{name}.up", self.message(name, x, j, i), True)
            h = self.dense(f"{name}.ji", x[j, i], True) + up
            for k in range(self.c.n_before_skip):
                h = self.residual(f"{name}.before_skip.{k}", h)
            h = self.dense(f"{name}.skip", h, True) + x[j, i]
            for k in range(self.c.n_after_skip):
                h = self.residual(f"{name}.after_skip.{k}", h)
            new[j, i] = h
        return new

    def output(self, n: int, x: dict) -> Tensor:
        name, rows = f"outputs.{n}", []
        for i in range(len(self.z)):
            total = torch.zeros(self.c.hidden)
            for j in self.near[i]:
                total = total + self.dense(f"{name}.rbf", self.rbf(float(self.d[i, j]))) * x[j, i]
            h = self.dense(f"{name}.up", total)
            for k in range(self.c.n_output_layers):
                h = self.dense(f"{name}.layers.{k}", h, True)
            rows.append(self.dense(f"{name}.last", h))
        return torch.stack(rows)

    def features(self) -> Tensor:
        elements, x = self.w["embedding.elements.weight"], {}
        for j, i in self.edges:
            rbf = self.dense("embedding.rbf", self.rbf(float(self.d[i, j])), True)
            ends = torch.cat([elements[self.z[i]], elements[self.z[j]], rbf])
            x[j, i] = self.dense("embedding.dense", ends, True)
        out = self.output(0, x)
        for n in range(self.c.n_blocks):
            x = self.interaction(n, x)
            out = out + self.output(n + 1, x)
        return out


def _roots(l: int, n: int) -> list[float]:
    """The first positive zeros of j_l, found between sign changes."""
    grid = [0.5 + 0.1 * k for k in range(1000)]
    signs = [(a, b) for a, b in itertools.pairwise(grid) if _j(l, a) * _j(l, b) < 0]
    return [brentq(lambda x: _j(l, x), a, b, xtol=1e-14) for a, b in signs[:n]]


def _j(l: int, x: float) -> float:
    return float(spherical_jn(l, x))


def _legendre(l: int, m: int, theta: float) -> float:
    """The factor of θ of an orthonormal real harmonic."""
    ratio = factorial(l - m) / factorial(l + m) * (2 if m else 1)
    norm = math.sqrt((2 * l + 1) / (4 * math.pi) * ratio)
    return norm * (-1) ** m * float(lpmv(m, l, math.cos(theta)))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("name", "n_spherical"), [("CH3CH2OH", 3), ("CH4", 7), ("OH", 2)])
def test_agrees_with_loops_over_angles(name: str, n_spherical: int, smooth: bool) -> None:
    fields = {**SMALL, "n_spherical": n_spherical, "smooth": smooth, "cutoff": 2.4}
    model = placed(SphereNet(**fields, n_out=3))
    z, pos = compound(name)
    pos = pos + 0.1 * torch.randn(pos.shape)  # nothing in a plane or on a line
    found = model.atom_features(z, pos, radius_graph(pos, model.cutoff))
    torch.testing.assert_close(found, Oracle(model, z, pos).features(), rtol=1e-8, atol=1e-8)


def test_the_published_size() -> None:
    """The paper says 1.89 million, beside 1.88 of DimeNet++."""
    assert sum(p.numel() for p in SphereNet().parameters()) == 1_898_566
    assert sum(p.numel() for p in DimeNetPlusPlus().parameters()) == 1_885_830
    assert sum(p.numel() for p in SphereNet(smooth=True).parameters()) == 1_894_534


@pytest.mark.parametrize("smooth", [False, True])
def test_tells_angles(smooth: bool) -> None:
    assert difference(SphereNet(**SMALL, smooth=smooth, cutoff=BONDS), waters()) > 1e-6


@pytest.mark.parametrize("pair", [enantiomers, diastereomers])
def test_tells_what_dimenet_cannot(pair) -> None:
    """The gaps between atoms around an edge, whose order a mirror turns round."""
    fields = {**SMALL, "cutoff": BONDS, "output_init": "glorot_orthogonal"}
    assert difference(DimeNetPlusPlus(**fields), pair()) < 1e-12
    assert difference(SphereNet(**fields), pair()) > 1e-6
    assert difference(SphereNet(**fields, smooth=True), pair()) < 1e-12


@pytest.mark.parametrize("smooth", [False, True])
def test_does_not_tell_dihedral_angles_beyond_the_cutoff(smooth: bool) -> None:
    """All torsions are between neighbours of one atom; ComENet has those of two atoms."""
    pair = hydrogen_peroxides()
    assert difference(SphereNet(**SMALL, smooth=smooth, cutoff=BONDS), pair) < 1e-12
    assert difference(SphereNet(**SMALL, smooth=smooth, cutoff=5.0), pair) > 1e-6


def steps_of_energy(smooth: bool) -> Tensor:
    """How the energy changes while one neighbour overtakes another, in even steps."""
    model = placed(SphereNet(**SMALL, smooth=smooth))
    angle = torch.linspace(-0.01, 0.01, 400)
    moving = torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.7)], dim=-1)
    others = torch.tensor([[0, 0, 0], [0, 0, 1.5], [1.2, 0, -0.5], [-0.5, 1, -0.3]])
    pos = torch.cat([others.expand(400, 4, 3), moving.unsqueeze(1)], dim=1).flatten(0, 1)
    z, batch = torch.tensor([6, 8, 1, 9, 7]).repeat(400), torch.arange(400).repeat_interleave(5)
    with torch.no_grad():
        return model(z, pos, batch).squeeze(1).diff().abs()


def test_as_published_the_energy_jumps_and_the_smooth_one_does_not() -> None:
    steps = steps_of_energy(smooth=False)
    assert steps.max() > 100 * steps.median()
    steps = steps_of_energy(smooth=True)
    assert steps.max() < 3 * steps.median()
    assert not SphereNet(**SMALL).is_smooth
    assert SphereNet(**SMALL, smooth=True).is_smooth


@pytest.mark.parametrize("smooth", [False, True])
def test_nothing_is_infinite(smooth: bool) -> None:
    """A thousand crowded, linear, planar and periodic structures, to the second derivatives."""
    model = placed(SphereNet(**SMALL, n_spherical=3, smooth=smooth, cutoff=2.5))
    assert_finite(model)


@pytest.mark.parametrize("smooth", [False, True])
def test_learns(smooth: bool) -> None:
    model = placed(SphereNet(**SMALL, smooth=smooth, n_spherical=3))
    losses = losses_of(model)
    assert losses[-1] < 0.02 * losses[0]


def test_too_many_triplets_are_refused_before_they_are_built(monkeypatch) -> None:
    z, pos = compound("CH3CH2OH")
    monkeypatch.setattr(torsions, "BYTES_PER_TRIPLET", {True: 10**15, False: 0})
    with pytest.raises(ValueError, match=r"576 triplets of 9 atoms need some .* GB, and cpu has"):
        SphereNet(**SMALL)(z, pos)
    with torch.no_grad():  # nothing is kept
        assert SphereNet(**SMALL)(z, pos).isfinite()


def test_a_large_system_is_computed_again_to_the_same_gradients(monkeypatch) -> None:
    model = placed(SphereNet(**SMALL, n_spherical=3))
    z, pos = compound("CH3CH2OH")
    found = []
    for most in (10**9, 72 + 9 * 64 // 12 - 1):  # all 72 edges alone would be kept
        monkeypatch.setattr(recompute, "most_edges", lambda device, most=most: most)
        model.zero_grad()
        model(z, pos).sum().backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*found)
