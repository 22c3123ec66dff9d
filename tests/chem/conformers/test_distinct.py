"""Conformers that are the same one, or its mirror image."""

import numpy as np
from ase.build import molecule

from molgeo.chem.conformers.distinct import ALIKE, first_alike


def turned(pos, seed):
    """Somewhere else in space."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return pos @ q + seed


def test_neither_place_nor_mirror_nor_like_atoms_make_another_conformer():
    atoms = molecule("CH3CH2OH")
    z, pos = atoms.numbers, atoms.positions
    hydrogens = np.flatnonzero(z == 1)
    exchanged = pos.copy()
    exchanged[hydrogens] = pos[hydrogens[::-1]]
    bent = pos.copy()
    bent[hydrogens[0]] += 0.2
    slightly = pos + 0.1 * ALIKE * np.sin(np.arange(pos.size)).reshape(pos.shape)
    every = [pos, bent, turned(pos, 1), -pos, exchanged, turned(bent, 2), slightly]
    assert first_alike(z, np.stack(every)).tolist() == [0, 1, 0, 0, 0, 1, 0]


def test_atoms_of_two_elements_are_not_alike():
    z, pos = np.array([6, 7, 8]), np.array([[0.0, 0, 0], [1.1, 0, 0], [2.4, 0, 0]])
    assert first_alike(z, np.stack([pos, pos[[1, 0, 2]]])).tolist() == [0, 1]
    assert first_alike(z[:1], pos[None, :1]).tolist() == [0]
