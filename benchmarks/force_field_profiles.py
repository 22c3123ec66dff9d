"""Energies of a force field along paths that its level of theory has walked, at the same points.

Paths are kept beside what the teacher computed, so that another model is judged in minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data.s22 import create_s22_system
from ase.geometry import get_dihedrals, get_dihedrals_derivatives
from ase.optimize import BFGS
from ase.units import kcal, mol
from force_field_molecules import FRAGMENTS, TORSION, conformers, turned
from force_field_teacher import NEAR, Sides, energies
from rdkit import Chem
from scipy.spatial.transform import Rotation

from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.guard import Guard
from molgeo.simulation.relaxation import relax
from molgeo.simulation.structures import structures

KCAL = kcal / mol
"""eV."""
FMAX = 0.01
"""eV/Å."""
STEEP = 20.0
"""kcal/mol above the lowest, beyond which a structure of a molecule is not counted: it clashes."""
HIGH = 1.0
"""eV of a dimer's repulsion, above which a curve is not counted."""
FAR = 4.0
"""Å, from which on a curve is one of the long range."""
APART = np.arange(2.5, 10.01, 0.25)
"""Å between the middles of two molecules; water: between its oxygens, methane: its carbons."""
S22 = {
    "water dimer": "Water_dimer",
    "methane dimer": "Methane_dimer",
    "benzene dimer, stacked": "Benzene_dimer_parallel_displaced",
    "benzene dimer, T": "Benzene_dimer_T-shaped",
}
"""Curve → dimer of ASE's S22 set, whose molecules it moves apart."""
BONDS = {
    "ethane": ("CC", "CC"),
    "ethanol": ("CCO", "CC"),
    "toluene": ("Cc1ccccc1", "[CH3]c"),
    "water": ("O", "O[H]"),
    "methanol": ("CO", "O[H]"),
    "phenol": ("Oc1ccccc1", "O[H]"),
    "acetic acid": ("CC(=O)O", "O[H]"),
}
"""Name → SMILES, and SMARTS of the bond that is pulled."""
LONGEST = 3.0
"""Å."""
SPRING = 50.0
"""eV/rad² or eV/Å², by which a coordinate of a scan is held. Its own energy is not counted."""
TORSIONS = {
    "biphenyl": ("c1ccccc1-c1ccccc1", "cc-cc", np.arange(0, 91, 15.0)),
    "butane": ("CCCC", "CCCC", np.arange(180, -1, -15.0)),
    "N-methylacetamide": ("CC(=O)NC", "CCNC", np.arange(180, 89, -15.0)),
}
"""Name → SMILES, SMARTS of four atoms, and angles of their torsion."""


@dataclass(frozen=True)
class Held:
    """Holds a torsion by a spring, or a proton between two atoms; a constraint of ASE.

    Attributes:
        value: degrees; or Å by which the proton, the second of three, is nearer to the third.
        atoms: four of a torsion, or three.
    """

    value: float
    atoms: tuple[int, ...]

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Nothing is fixed."""

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Add those of the spring."""
        picked = atoms.positions[list(self.atoms)]
        if len(picked) == 4:
            bonds = [v[None] for v in np.diff(picked, axis=0)]
            off = float(get_dihedrals(*bonds)[0]) - self.value
            off = np.deg2rad((off + 180.0) % 360.0 - 180.0)
            slope = np.deg2rad(get_dihedrals_derivatives(*bonds)[0])
        else:
            apart = picked[1] - picked[[0, 2]]
            length = np.linalg.norm(apart, axis=1)
            unit = apart / length[:, None]
            off = length[0] - length[1] - self.value
            slope = np.array([-unit[0], unit[0] - unit[1], unit[1]])
        forces[list(self.atoms)] -= SPRING * off * slope

    def get_removed_dof(self, atoms: Atoms) -> int:
        """None."""
        return 0


# curves


def curves(sides: Sides, n: int) -> dict[str, Any]:
    """Two molecules moved apart, and water clusters."""
    rows = []
    for name, pair in islice(_pairs(), n):
        frames = sides.teacher.kept(
            "curves", name, lambda pair=pair: sides.teacher.labelled(_moved_apart(*pair))
        )
        theirs, ours = (
            e[2:] - e[0] - e[1] for e in (energies(frames), energies(frames, sides.ours))
        )
        counted = (theirs < HIGH) & (APART <= 8.0)
        far = APART >= FAR
        rows.append(
            {
                "name": name,
                "distance": APART.tolist(),
                "theirs": theirs.tolist(),
                "ours": ours.tolist(),
                "worst": _worst(ours - theirs, counted),
                "worst_far": _worst(ours - theirs, far),
                "minimum": [float(side.min()) for side in (theirs, ours)],
                "bump": [_bump(side) for side in (theirs, ours)],
            }
        )
    return {"rows": rows, "clusters": _hexamers(sides)}


def _pairs() -> Iterator[tuple[str, tuple[Atoms, Atoms, np.ndarray]]]:
    """Name of a curve; two molecules, the second placed at the first, and the direction."""
    for name, system in S22.items():
        both = create_s22_system(system)
        half = len(both) // 2
        parts = both[:half], both[half:]
        heavy = [part[part.numbers > 1] if name[0] in "wm" else part for part in parts]
        middles = [part.positions.mean(0) for part in heavy]
        apart = middles[1] - middles[0]
        parts[1].positions -= apart
        yield name, (*parts, apart / np.linalg.norm(apart))
    cation, anion = (next(structures(smiles)) for smiles in ("[NH4+]", "C(=O)[O-]"))
    cation.positions -= cation.positions[0]
    carbon = anion.positions[anion.numbers == 6][0]
    axis = anion.positions[anion.numbers == 8].mean(0) - carbon
    to_x = Rotation.align_vectors([[-1.0, 0.0, 0.0]], [axis])[0]
    anion.positions = to_x.apply(anion.positions - carbon)
    yield "ammonium and formate", (cation, anion, np.array([1.0, 0.0, 0.0]))


def _moved_apart(first: Atoms, second: Atoms, direction: np.ndarray) -> list[Atoms]:
    """Either alone, and both at each distance."""
    frames = [first.copy(), second.copy()]
    for distance in APART:
        moved = second.copy()
        moved.positions += distance * direction
        both = first + moved
        both.info = {"charge": sum(part.info.get("charge", 0) for part in (first, second))}
        frames.append(both)
    return frames


def _bump(curve: np.ndarray) -> float:
    """Energy in eV by which the curve falls beyond its minimum, as the distance grows."""
    out = curve[int(curve.argmin()) :]
    return float(np.max(np.maximum.accumulate(out) - out))


def _worst(error: np.ndarray, counted: np.ndarray) -> float:
    return float(np.abs(error[counted]).max())


def _hexamers(sides: Sides) -> list[dict[str, Any]]:
    """Binding energy of a molecule of water in two clusters of six."""

    def make() -> list[Atoms]:
        found = [molecule("H2O"), _ring(), _compact(sides.seed)]
        return sides.teacher.labelled([sides.teacher.relaxed(each, FMAX).atoms for each in found])

    frames = sides.teacher.kept("curves", "hexamers", make)
    theirs, ours = energies(frames), energies(frames, sides.ours)
    own = [_relaxed(frame, sides.ours).get_potential_energy() for frame in frames]
    return [
        {"name": name} | {key: float(e[k] / 6 - e[0]) for key, e in sides_of.items()}
        for k, name in enumerate(("ring", "compact"), 1)
        for sides_of in [{"theirs": theirs, "ours": ours, "own_minimum": np.array(own)}]
    ]


def _ring() -> Atoms:
    """Six molecules in a ring, each with one hydrogen towards the next oxygen."""
    ring = Atoms()
    corners = [2.75 * np.array([np.cos(a), np.sin(a), 0.0]) for a in np.arange(6) * np.pi / 3]
    for k, corner in enumerate(corners):
        to_next = corners[(k + 1) % 6] - corner
        to_next /= np.linalg.norm(to_next)
        up = np.array([0.0, 0.0, (-1.0) ** k])
        out = corner / np.linalg.norm(corner)
        ring += Atoms("OHH", [corner, corner + 0.97 * to_next, corner + 0.77 * up + 0.57 * out])
    return ring


def _compact(seed: int) -> Atoms:
    """Six molecules, turned at random, on the corners of a prism."""
    rng = np.random.default_rng(seed)
    found = Atoms()
    for k in range(6):
        angle, level = 2 * np.pi * (k % 3) / 3, k // 3
        water = molecule("H2O")
        turn = Rotation.random(random_state=rng)
        water.positions = turn.apply(water.positions) + 1.65 * np.array(
            [np.cos(angle), np.sin(angle), 1.7 * level]
        )
        found += water
    return found


# barriers


def barriers(sides: Sides, n: int) -> dict[str, Any]:
    """Relaxed scans by either, and single points on the teacher's."""
    rows = []
    for name, (start, constraint, values) in islice(_scans(sides.seed).items(), n):
        frames = sides.teacher.kept(
            "barriers",
            name,
            lambda at=(start, constraint, values): sides.teacher.labelled(
                _scan(*at, sides.teacher.calculator(), sides.teacher.calculator(rough=True))
            ),
        )
        theirs, single = energies(frames), energies(frames, sides.ours)
        at = [float(frame.info["at"]) for frame in frames]
        scanned = [
            _held(frame, constraint(v), sides.ours, FMAX)
            for frame, v in zip(frames, at, strict=True)
        ]
        own = energies(scanned)
        profiles = [each - each.min() for each in (theirs, single, own)]
        rows.append(
            {
                "name": name,
                "at": at,
                "theirs": profiles[0].tolist(),
                "single_points": profiles[1].tolist(),
                "own": profiles[2].tolist(),
                "worst": [float(np.abs(p - profiles[0]).max()) for p in profiles[1:]],
            }
        )
    return {"rows": rows}


Scan = tuple[Atoms, Callable[[float], Held], np.ndarray]


def _scans(seed: int) -> dict[str, Scan]:
    """Start of each, what is held at a value, and the values."""
    found: dict[str, Scan] = {}
    for name, (smiles, smarts, values) in TORSIONS.items():
        plain = Chem.MolFromSmiles(smiles)
        four = plain.GetSubstructMatch(Chem.MolFromSmarts(smarts))
        (atoms,) = conformers(plain, 1, seed)
        found[name] = atoms, lambda v, four=four: Held(v, four), values
    enol = Chem.MolFromSmiles("O=C/C=C\\O")
    oxygen, other = (enol.GetSubstructMatch(Chem.MolFromSmarts(s))[0] for s in ("O=C", "OC=C"))

    def apart(atoms: Atoms) -> np.ndarray:
        return atoms.get_distances(oxygen, np.flatnonzero(atoms.numbers == 1))

    atoms = min(conformers(enol, 20, seed), key=lambda each: apart(each).min())
    proton = int(np.flatnonzero(atoms.numbers == 1)[apart(atoms).argmin()])

    def transfer(v: float) -> Held:
        return Held(v, (oxygen, proton, other))

    found["malonaldehyde"] = atoms, transfer, np.arange(0.7, -0.01, -0.1)
    return found


def _scan(
    start: Atoms,
    constraint: Callable[[float], Held],
    values: np.ndarray,
    calculator: Any,
    rough: Any,
) -> list[Atoms]:
    """Relaxed structures, each from the one before."""
    now, frames = _relaxed(start, rough or calculator), []
    for value in values:
        if rough is not None:
            now = _held(now, constraint(float(value)), rough, NEAR)
        now = _held(now, constraint(float(value)), calculator, FMAX)
        frames.append(now)
        frames[-1].info["at"] = float(value)
    return frames


def _held(atoms: Atoms, held: Held, calculator: Any, fmax: float) -> Atoms:
    """Relaxed with one coordinate held."""
    own = atoms.copy()
    own.set_constraint(held)
    own.calc = calculator
    BFGS(own, logfile=None).run(fmax=fmax, steps=200)
    own.set_constraint()
    return own


def _relaxed(atoms: Atoms, calculator: Any) -> Atoms:
    own = atoms.copy()
    own.calc = calculator
    return relax(own, FMAX).atoms


# bonds


def bonds(sides: Sides, n: int) -> dict[str, Any]:
    """Bonds pulled until they break, all else as it is: how wrong, and whether that is flagged."""
    rows = []
    for name, (smiles, smarts) in islice(BONDS.items(), n):
        start, (i, j), side = _bond(smiles, smarts)

        def make(start: Atoms = start, i: int = i, j: int = j, side: Any = side) -> list[Atoms]:
            own = sides.teacher.relaxed(start, FMAX).atoms
            return sides.teacher.labelled(_pulled(own, i, j, side))

        frames = sides.teacher.kept("bonds", name, make)
        theirs, ours = (e - e[0] for e in (energies(frames), energies(frames, sides.ours)))
        guarded = frames[0].copy()
        guarded.calc = sides.ours
        guard = Guard(guarded, 300.0, 3 * len(guarded) - 6)
        flags = [_flag(frame, guard, sides.ours) for frame in frames]
        length = [float(frame.get_distance(i, j)) for frame in frames]
        wrong = np.abs(ours - theirs)
        silent = [w for w, flag in zip(wrong, flags, strict=True) if flag is None]
        rows.append(
            {
                "name": name,
                "bond": f"{start.symbols[i]}–{start.symbols[j]}",
                "length": length,
                "theirs": theirs.tolist(),
                "ours": ours.tolist(),
                "flags": flags,
                "worst": float(np.nanmax(wrong)),
                "worst_unflagged": float(np.max(silent)),
            }
        )
    return {"rows": rows}


def _bond(smiles: str, smarts: str) -> tuple[Atoms, tuple[int, int], np.ndarray]:
    """A molecule, two atoms, and the atoms that go with the second."""
    full = Chem.AddHs(Chem.MolFromSmiles(smiles))
    i, j = full.GetSubstructMatch(Chem.MolFromSmarts(smarts))
    cut = Chem.RWMol(full)
    cut.RemoveBond(i, j)
    side = next(part for part in Chem.GetMolFrags(cut) if j in part)
    (atoms,) = conformers(Chem.MolFromSmiles(smiles), 1, 0)
    return atoms, (i, j), np.array(side)


def _pulled(atoms: Atoms, i: int, j: int, side: np.ndarray) -> list[Atoms]:
    apart = atoms.positions[j] - atoms.positions[i]
    length = float(np.linalg.norm(apart))
    frames = []
    for wanted in np.linspace(length, LONGEST, 10):
        frames.append(Atoms(atoms.numbers, atoms.positions.copy()))
        frames[-1].positions[side] += (wanted / length - 1) * apart
    return frames


def _flag(atoms: Atoms, guard: Guard, calculator: MolgeoCalculator) -> str | None:
    """Why ``molgeo md`` would stop here, if it would."""
    own = atoms.copy()
    own.calc = calculator
    try:
        own.get_forces()
    except ValueError as error:
        return str(error)
    return guard.stop_reason(own)


# torsions and conformers


def torsions(sides: Sides, n: int, points: int = 12) -> dict[str, Any]:
    """Profiles of drug fragments, near the minima with one torsion held."""
    rows = []
    found = sides.needed().molecules(8, 30, FRAGMENTS, TORSION)
    for k, fragment in enumerate(found):
        if len(rows) == n:
            break
        four, frames = turned(fragment, points, sides.seed)
        if not frames:
            continue

        def make(frames: list[Atoms] = frames, four: Any = four) -> list[Atoms]:
            held = [Held(frame.info["angle"], four) for frame in frames]
            return sides.teacher.labelled(sides.teacher.near(frames, held))

        rows.append(_relative(fragment, _kept(sides, "torsions", k, make), sides))
    return {"rows": rows}


def conformer_energies(sides: Sides, n: int, each: int = 8) -> dict[str, Any]:
    """Relative energies of conformers, near the minima of the teacher."""
    rows = []
    found = sides.needed().molecules(20, 50, "", TORSION)
    for k, plain in enumerate(found):
        if len(rows) == n:
            break
        frames = conformers(plain, each, sides.seed)
        if len(frames) < 3:
            continue

        def make(frames: list[Atoms] = frames) -> list[Atoms]:
            return sides.teacher.labelled(sides.teacher.near(frames))

        rows.append(_relative(plain, _kept(sides, "conformers", k, make), sides))
    return {"rows": rows}


def _kept(sides: Sides, part: str, k: int, make: Callable[[], list[Atoms]]) -> list[Atoms]:
    return sides.teacher.kept(part, f"{sides.seed}-{k:04d}", make)


def _relative(molecule: Chem.Mol, frames: Sequence[Atoms], sides: Sides) -> dict[str, Any]:
    """Energies about their means in kcal/mol, and the mean absolute difference."""
    theirs, ours = (e / KCAL for e in (energies(frames), energies(frames, sides.ours)))
    counted = theirs <= theirs.min() + STEEP
    theirs, ours = (e[counted] - e[counted].mean() for e in (theirs, ours))
    return {
        "smiles": Chem.MolToSmiles(molecule),
        "atoms": len(frames[0]),
        "charge": int(Chem.GetFormalCharge(molecule)),
        "theirs": theirs.tolist(),
        "ours": ours.tolist(),
        "counted": int(counted.sum()),
        "error": float(np.abs(ours - theirs).mean()),
        "spread": float(theirs.std()),
    }
