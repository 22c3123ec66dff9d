"""Potentials with known answers, as calculators of ASE."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS


class Analytic(Calculator):
    """Energy and forces of positions alone."""

    implemented_properties = ("energy", "free_energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.atoms = atoms.copy()
        energy, forces = self.potential(atoms.positions)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


class Wells(Analytic):
    """Each atom in a harmonic well of its own."""

    def __init__(self, centres, k=5.0):
        super().__init__()
        self.centres, self.k = centres.copy(), k

    def potential(self, positions):
        d = positions - self.centres
        return 0.5 * self.k * float((d * d).sum()), -self.k * d


class Morse(Analytic):
    """``depth · (1 − exp(−a (r − r0)))²`` of every pair, or of some."""

    def __init__(self, n, depth=4.0, a=1.8, r0=1.2, pairs=None):
        super().__init__()
        self.i, self.j = np.triu_indices(n, 1) if pairs is None else np.array(pairs).T
        self.depth, self.a, self.r0 = depth, a, r0

    def potential(self, positions):
        d = positions[self.j] - positions[self.i]
        r = np.linalg.norm(d, axis=1)
        e = np.exp(-self.a * (r - self.r0))
        slope = 2 * self.depth * self.a * e * (1 - e)  # dE/dr
        pull = (slope / r)[:, None] * d
        forces = np.zeros_like(positions)
        np.add.at(forces, self.i, pull)
        np.add.at(forces, self.j, -pull)
        return float((self.depth * (1 - e) ** 2).sum()), forces


def cluster(n=12, seed=0):
    """Atoms of three masses that a weak Morse potential holds together, at a minimum."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    atoms = Atoms((["C", "O", "H"] * n)[:n], 1.3 * grid + 0.05 * rng.standard_normal((n, 3)))
    atoms.calc = Morse(n, depth=1.0, a=1.5, r0=1.3)
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
    return atoms
