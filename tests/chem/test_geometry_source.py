"""Six of QM9's validation molecules at three minima, and what they become."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2

from molgeo.chem.geometry_source import DFT, DISTORTED, GFN2, MMFF94, judge
from molgeo.units import BOHR

RECORD = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "geometry_sources.json").read_text("utf-8")
)
NUMBERS = [np.array(z) for z in RECORD["z"]]
MINIMA = {
    source: [np.array(pos) for pos in RECORD[name]]
    for name, source in (("dft", DFT), ("mmff94", MMFF94), ("gfn2", GFN2))
}


def judged(numbers, positions):
    ptr = np.cumsum([0, *map(len, numbers)])
    return judge(np.concatenate(numbers).astype(np.int64), np.concatenate(positions), ptr)


@pytest.mark.parametrize("source", MINIMA)
def test_minima_are_told_apart(source):
    assert judged(NUMBERS, MINIMA[source]) == [source] * len(NUMBERS)


@pytest.mark.parametrize("width", [0.05, 0.1])
@pytest.mark.parametrize("source", MINIMA)
def test_noise_is_told_from_any_minimum(source, width):
    rng = np.random.default_rng(0)
    noisy = [pos + width * rng.standard_normal(pos.shape) for pos in MINIMA[source]]
    assert judged(NUMBERS, noisy) == [DISTORTED] * len(NUMBERS)


def test_one_strange_bond_is_no_distortion():
    """A methyl group turned and one C–H stretched by 30 mÅ, as another environment would."""
    numbers, pos = NUMBERS[1], MINIMA[DFT][1].copy()
    hydrogen = int(np.flatnonzero(numbers == 1)[0])
    distance = np.linalg.norm(pos - pos[hydrogen], axis=1)
    carbon = int(np.argsort(distance)[1])
    pos[hydrogen] += 0.03 * (pos[hydrogen] - pos[carbon]) / distance[carbon]
    assert judged([numbers], [pos]) == [DFT]


def test_shorter_bonds_of_another_functional_are_those_of_a_functional():
    shorter = [0.9957 * pos for pos in MINIMA[DFT]]
    assert judged(NUMBERS, shorter).count(DFT) >= len(NUMBERS) - 1


@pytest.mark.parametrize("source", MINIMA)
def test_order_place_and_company_do_not_matter(source):
    rng = np.random.default_rng(1)
    numbers, positions = [], []
    for z, pos in zip(NUMBERS, MINIMA[source], strict=True):
        order = rng.permutation(len(z))
        turned, _ = np.linalg.qr(rng.standard_normal((3, 3)))  # mirrored too, at times
        numbers.append(z[order])
        positions.append((pos @ turned + 100 * rng.standard_normal(3))[order])
    together = judged(numbers, positions)
    alone = [judged([z], [pos])[0] for z, pos in zip(numbers, positions, strict=True)]
    assert together == alone == [source] * len(NUMBERS)


@pytest.mark.parametrize(
    "atoms",
    [
        g2("SiH4"),
        g2("CH3SH"),
        g2("C2Cl4"),
        g2("H2"),
        g2("F2"),
        Atoms("He"),
        Atoms("CuOCuO", [[0, 0, 0], [1.8, 0, 0], [1.8, 1.8, 0], [0, 1.8, 0]]),
    ],
    ids=str,
)
def test_of_unknown_bonds_there_is_no_judgement(atoms):
    assert judged([atoms.numbers], [atoms.positions]) == [None]


@pytest.mark.parametrize("scale", [1 / BOHR, BOHR, 0.1])
def test_any_scale_is_judged_without_an_error(scale):
    found = judged(NUMBERS, [scale * pos for pos in MINIMA[DFT]])
    assert set(found) <= {DISTORTED, None}


def test_no_molecule_has_no_judgement():
    assert judge(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(1, np.int64)) == []
