"""The repulsion of nuclei: its formula, its derivatives, and that atoms cannot fuse."""

import math

import pytest
import torch
from compounds import compound

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.properties import named
from molgeo.elements import SYMBOLS
from molgeo.graph import radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, read_header, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.header import Facts
from molgeo.predictor.potential import standardised_forces
from molgeo.predictor.repulsion import Repulsion
from molgeo.runtime.errors import SettingError

KNOWN = [SYMBOLS.index(s) for s in ["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"]]
BACKBONE = {"n_features": 16, "n_filters": 16, "n_products": 8, "n_blocks": 2, "cutoff": 4.0}


def lammps(z1, z2, r):
    """Pair potential of LAMMPS's ``pair_style zbl`` without its switch, in eV."""
    a = 0.46850 / (z1**0.23 + z2**0.23)
    c, d = (0.02817, 0.28022, 0.50986, 0.18175), (0.20162, 0.40290, 0.94229, 3.19980)
    phi = sum(weight * math.exp(-decay * r / a) for weight, decay in zip(c, d, strict=True))
    return 14.399645 * z1 * z2 / r * phi


def pair(z1, z2, r):
    """Elements, positions and graph of two atoms."""
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, r]], dtype=torch.float64)
    return torch.tensor([z1, z2]), pos, radius_graph(pos, 4.0)


BONDS = ["N N 1.10", "C O 1.13", "C C 1.20", "H F 0.92", "H H 0.74", "S O 1.43", "P H 1.41"]
BONDS += ["Cl Cl 1.99", "Si F 1.55", "B F 1.26"]


@pytest.mark.parametrize("bond", BONDS)
def test_the_shortest_bonds_are_not_touched(bond):
    first, second, length = bond.split()
    atoms = pair(SYMBOLS.index(first), SYMBOLS.index(second), float(length))
    assert not Repulsion()(*atoms).any()


def field(repulsion=True):
    torch.manual_seed(0)
    made = Predictor("spectrum_net", BACKBONE, [ENERGY], 8, repulsion=repulsion).eval()
    made.domain = Domain(tuple(KNOWN), max_atoms=20, min_distance=0.9)
    made.header = Facts(trained_on_forces=True)
    made.scale.fill_(0.7)
    torch.nn.init.normal_(made.heads.out_weight)
    return made


def test_all_energies_of_a_model_have_it():
    z, pos, graph = pair(7, 8, 0.5)
    kinds = named(["gap", "u0", "u298", "h298"])
    with_it, without = (
        Predictor("spectrum_net", BACKBONE, kinds, 8, repulsion=one) for one in (True, False)
    )
    without.load_state_dict(with_it.state_dict())
    with torch.inference_mode():
        one, other = (made.eval()(z, pos, graph=graph) for made in (with_it, without))
    expected = float(Repulsion()(z, pos, graph).sum())
    assert expected > 1.0
    for name in ("u0", "u298", "h298"):
        assert float(one[name] - other[name]) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(one["gap"], other["gap"])


def test_every_pair_of_elements_repels_when_pressed_together():
    """A network with random weights alone would let some of them fuse."""
    made, bare = field().double(), field(repulsion=False).double()
    pulls = 0
    for i, z1 in enumerate(KNOWN):
        for z2 in KNOWN[i:]:
            z, pos, graph = pair(z1, z2, 0.3)
            assert made.potential(z, pos, graph).forces[1, 2] > 20.0
            pulls += bool(bare.potential(z, pos, graph).forces[1, 2] < 0)
    assert pulls > 0


def test_a_predictor_adds_it_to_the_energy_everywhere():
    made, bare = field().double(), field(repulsion=False).double()
    z, pos = compound("CH3CH2OH")
    pos[1] += 0.6 * (pos[0] - pos[1])  # a bond far too short
    graph = radius_graph(pos, 4.0)
    own = Repulsion()(z, pos, graph)
    assert own.sum() > 10.0
    for key in ("energy", "energies"):
        more, less = (getattr(one.potential(z, pos, graph), key) for one in (made, bare))
        torch.testing.assert_close(more - less, own.sum()[None] if key == "energy" else own)
    torch.testing.assert_close(made(z, pos)["energy"] - bare(z, pos)["energy"], own.sum()[None])
    energy, forces = standardised_forces(made, z, pos, graph)
    found = made.potential(z, pos, graph)
    torch.testing.assert_close(0.7 * forces, found.forces)
    torch.testing.assert_close(0.7 * energy, found.energy)


def test_a_checkpoint_keeps_it(tmp_path):
    path, bare = tmp_path / "repelled.safetensors", tmp_path / "bare.safetensors"
    save_checkpoint(field(), path, {"trained_on_forces": True})
    save_checkpoint(field(repulsion=False), bare, {"trained_on_forces": True})
    z, pos, graph = pair(6, 6, 0.4)
    found, expected = (one.potential(z, pos.float(), graph) for one in (load(path), field()))
    assert torch.equal(found.energy, expected.energy)
    assert read_header(path).config.repulsion
    assert "repulsion" not in read_header(bare).config.model_dump(exclude_defaults=True)


def test_without_an_energy_there_is_nothing_to_add_it_to():
    from molgeo.data.qm9.properties import named

    with pytest.raises(SettingError, match="forces need an energy"):
        Predictor("spectrum_net", BACKBONE, named(["gap"]), repulsion=True)
