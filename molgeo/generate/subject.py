"""One molecule and the structures that are made of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

import numpy as np
from ase import Atoms

from molgeo.chem.conformers.conformers import Embedder
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow, check_geometry
from molgeo.generate.bonded import Array, Bonded, Vibrations, clashes
from molgeo.generate.clusters import face, place
from molgeo.generate.distortions import bent, stretched, turned
from molgeo.generate.dynamics import langevin, learned_forces
from molgeo.generate.plan import SamplePlan
from molgeo.generate.transfer import transferred

EQUILIBRATION: Final = 4
"""Samples thrown away at the start of each trajectory."""

TRIES: Final = 4
"""How often a structure is drawn again if its atoms clash, before it is left out."""

FACING: Final = 0.7
"""Share of clusters whose molecules face each other; the others lie at random."""

RELAXED_WITHIN: Final = 1.2
"""Contact up to which clusters relax; farther ones would stay where they are."""

MOST_CHARGE: Final = 1
"""Largest total charge of a cluster, e."""

HYDROGEN_BOND: Final = (0.6, 0.8)
"""Contacts from which a proton may go over."""

JITTER: Final = 0.03
"""Å, of the atoms of molecules that were relaxed under a force field."""

Row = Molecule | SmilesRow | BadRow
Made = tuple[Bonded, dict[str, Any]]


class Subject:
    """One molecule and what is made of it.

    Args:
        plan: what to make.
        row: the molecule.
        rng: of everything that is drawn.

    Raises:
        ValueError: there is no geometry.
    """

    def __init__(self, plan: SamplePlan, row: Row, rng: np.random.Generator) -> None:
        self.plan, self.rng = plan, rng
        self.conformers = conformers(row, plan.conformers)
        self.molecule = self.conformers[0]
        self._vibrating: dict[int, tuple[Bonded, Vibrations]] = {}

    def structures(self, other: Row) -> Iterator[Atoms]:
        """All that the plan asks for.

        Args:
            other: a molecule that clusters are made with.

        Raises:
            ValueError: no force field knows the molecule.
            FloatingPointError: a trajectory breaks down.
        """
        yield from self._thermal()
        yield from self._kept("vibration", self.plan.vibrations, self._vibration)
        yield from self._kept("torsion", self.plan.torsions, self._torsion)
        yield from self._kept("bend", self.plan.bends, self._bend)
        yield from self._kept("stretch", self.plan.stretches, self._stretch)
        yield from self._noisy()
        yield from self._dimers(other)
        yield from self._kept("transfer", self.plan.transfers, lambda: self._transfer(other))

    def _number(self, wanted: float) -> int:
        """A whole number that is ``wanted`` on average."""
        whole, part = divmod(wanted, 1.0)
        return int(whole) + int(self.rng.random() < part)

    def _kept(self, kind: str, wanted: float, make: Callable[[], Made | None]) -> Iterator[Atoms]:
        """Structures whose atoms do not clash."""
        for _ in range(self._number(wanted)):
            for _ in range(TRIES):
                made = make()
                if made is not None and not clashes(made[0].z, made[0].pos):
                    yield _atoms(made[0].z, made[0].pos, made[0].charge, kind, **made[1])
                    break

    def _thermal(self) -> Iterator[Atoms]:
        plan, molecule = self.plan, self.molecule
        if not plan.thermal:
            return
        if plan.model:
            forces = learned_forces(plan.model, molecule)
        else:
            molecule = _with_known_bonds(molecule)
            forces = Bonded.of(molecule).forces("mmff")
        T = float(self.rng.choice(plan.temperatures))
        trajectory = langevin(molecule.z, molecule.pos, forces, T, self.rng, plan.steps)
        for pos in itertools.islice(trajectory, EQUILIBRATION, EQUILIBRATION + plan.thermal):
            yield _atoms(molecule.z, pos, molecule.charge, "thermal", T=T)

    def _vibrate(self) -> tuple[Bonded, Array, float]:
        """A conformer, a displacement of its atoms, and the temperature of that."""
        k = int(self.rng.integers(len(self.conformers)))
        if k not in self._vibrating:
            bonded = Bonded.of(_with_known_bonds(self.conformers[k]))
            self._vibrating[k] = bonded, bonded.vibrations()
        bonded, vibrations = self._vibrating[k]
        T = float(self.rng.choice(self.plan.temperatures))
        return bonded, vibrations.draw(T, self.rng), T

    def _vibration(self) -> Made:
        bonded, displacement, T = self._vibrate()
        return bonded.at(bonded.pos + displacement), {"T": T}

    def _torsion(self) -> Made | None:
        bonded, displacement, T = self._vibrate()
        pos = turned(bonded, displacement, self.rng, self.plan.relaxation)
        return None if pos is None else (bonded.at(pos), {"T": T})

    def _bend(self) -> Made | None:
        bonded, displacement, T = self._vibrate()
        pos = bent(bonded, bonded.pos + displacement, self.rng)
        return None if pos is None else (bonded.at(pos), {"T": T})

    def _stretch(self) -> Made | None:
        bonded, displacement, T = self._vibrate()
        found = stretched(bonded, bonded.pos + displacement, self.rng)
        if found is None:
            return None
        return bonded.at(found[0]), {"T": T, "stretch": round(found[1], 4)}

    def _noisy(self) -> Iterator[Atoms]:
        for _ in range(self._number(self.plan.noise)):
            molecule = self._conformer()
            sigma = float(np.exp(self.rng.uniform(*np.log(self.plan.amplitudes))))
            pos = molecule.pos + sigma * self.rng.standard_normal(molecule.pos.shape)
            about = {"noise_size": round(sigma, 4)}
            yield _atoms(molecule.z, pos, molecule.charge, "noise", **about)
        for _ in range(self._number(self.plan.geometry)):
            molecule = self._conformer()
            yield _atoms(molecule.z, molecule.pos, molecule.charge, "geometry")

    def _conformer(self) -> Molecule:
        return self.conformers[self.rng.integers(len(self.conformers))]

    def _dimers(self, row: Row) -> Iterator[Atoms]:
        for _ in range(self._number(self.plan.dimers)):
            if self.molecule.geometry == "given":
                yield from self._rigid_pair(row)
                continue
            made = self._cluster(row)
            if made is not None and not clashes(made[0].z, made[0].pos):
                bonded, about = made
                kind = "dimer" if about.pop("molecules") == 2 else "cluster"
                yield _atoms(bonded.z, bonded.pos, bonded.charge, kind, **about)

    def _rigid_pair(self, row: Row) -> Iterator[Atoms]:
        """Two molecules at random, whose bonds need not be known."""
        try:
            other = conformers(row)[0]
        except ValueError:
            return  # it is a failure of its own, in its own place
        wanted = self._contact()
        a, b = (self.molecule.z, self.molecule.pos), (other.z, other.pos)
        pos = np.concatenate([a[1], place(a, b, wanted, self.rng)])
        charge = self.molecule.charge + other.charge
        yield _atoms(np.concatenate([a[0], b[0]]), pos, charge, "dimer", contact=round(wanted, 3))

    def _contact(self) -> float:
        """Uniform in its inverse."""
        low, high = self.plan.contacts
        return float(1.0 / self.rng.uniform(1.0 / high, 1.0 / low))

    def _cluster(self, row: Row, closest: float | None = None) -> Made | None:
        """Some molecules around one; None if a partner has no conformer, or too many atoms."""
        plan, rng = self.plan, self.rng
        bonded = Bonded.of(self._conformer())
        size = int(rng.integers(2, plan.largest + 1))
        wanted = self._contact() if closest is None else closest
        n = 1
        for _ in range(size - 1):
            other = self._partner(row)
            if (
                other is None
                or len(bonded.z) + len(other.z) > plan.most_atoms
                or abs(bonded.charge + other.charge) > MOST_CHARGE
            ):
                continue
            if rng.random() < FACING:
                pos = face(bonded, other, wanted, rng)
            else:
                pos = place((bonded.z, bonded.pos), (other.z, other.pos), wanted, rng)
            bonded = bonded.beside(other.at(pos))
            n += 1
        if n == 1:
            return None
        if wanted < RELAXED_WITHIN and plan.relaxation and rng.random() < 0.5:
            bonded = bonded.relaxed(int(rng.integers(1, plan.relaxation + 1)))
        jitter = JITTER * rng.random() * rng.standard_normal(bonded.pos.shape)
        return bonded.at(bonded.pos + jitter), {"contact": round(wanted, 3), "molecules": n}

    def _partner(self, row: Row) -> Bonded | None:
        k = int(self.rng.integers(len(self.plan.partners) + 1))
        chosen = row if k == 0 else SmilesRow(self.plan.partners[k - 1])
        try:
            return Bonded.of(_with_known_bonds(conformers(chosen)[0]))
        except ValueError:
            return None

    def _transfer(self, other: Row) -> Made | None:
        """Within the molecule, or in a cluster with another."""
        bonded = Bonded.of(_with_known_bonds(self._conformer()))
        found = transferred(bonded, self.rng) if self.rng.random() < 0.5 else None
        if found is None:
            made = self._cluster(other, closest=float(self.rng.uniform(*HYDROGEN_BOND)))
            if made is None:
                return None
            bonded = made[0]
            found = transferred(bonded, self.rng)
        if found is None:
            return None
        jitter = JITTER * self.rng.standard_normal(found[0].shape)
        return bonded.at(found[0] + jitter), {"transfer": round(found[1], 3)}


def conformers(row: Row, n: int = 1) -> list[Molecule]:
    """A molecule with coordinates, once for each conformer.

    Raises:
        ValueError: there are none, or they are unsound.
    """
    made = _embedder(n).molecules(row) if isinstance(row, SmilesRow) else row
    if isinstance(made, BadRow):
        raise ValueError(made.message)
    found = made if isinstance(made, list) else [made]
    for one in found:
        if reason := check_geometry(one):
            raise ValueError(reason)
    return found


@cache
def _embedder(n: int) -> Embedder:
    """It remembers the molecules that it met last."""
    return Embedder(n)


def _with_known_bonds(molecule: Molecule) -> Molecule:
    """A conformer of the SMILES, for a geometry that came from elsewhere: MMFF94 needs bonds."""
    if molecule.geometry != "given":
        return molecule
    if not molecule.smiles:
        raise ValueError("MMFF94 needs bonds: give a SMILES, or a learned force field as model")
    return conformers(SmilesRow(molecule.smiles, molecule.name, molecule.input))[0]


def _atoms(z: Any, pos: Array, charge: int, kind: str, **about: Any) -> Atoms:
    return Atoms(z, pos, info={"kind": kind, "charge": charge, **about})
