"""Whether energies and forces can be in the units that are claimed for them.

Three numbers hardly depend on the chemistry:

* the length of bonds to hydrogen over the sum of covalent radii, about 1;
* the force constant of their stretching, 25 to 40 eV/Å² at any level of theory;
* the change of the energy between near frames over the work of the forces, 1.

The first tells the unit of length, the second that of the forces and the third that of the energy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.datasets.molecules import MoleculeSet
from molgeo.elements import COVALENT_RADII
from molgeo.units import ENERGY_UNITS, LENGTH_UNITS, force_unit

Array = NDArray[np.float64]

BOND_RATIO: Final = (0.7, 1.45)
"""Length of a bond to hydrogen over the sum of covalent radii, and its bounds."""

FORCE_CONSTANT: Final = (12.0, 33.0, 100.0)
"""Least, usual and largest force constant of a bond to hydrogen, eV/Å²."""

WORK_RATIO: Final = (0.2, 4.0)
"""Bounds of energy differences over work. Curved paths between frames make it smaller than 1."""

FRAMES: Final = 500
"""Frames looked at, spread over the set."""

FEWEST: Final = 20
"""Bonds or pairs of frames below which nothing is concluded."""


def check_units(
    molecules: MoleculeSet, energy: str = "eV", length: str = "angstrom", force: str = ""
) -> None:
    """Raise ValueError where a data set's numbers speak against the units claimed for them.

    Args:
        molecules: converted to eV and Å by these units.
        energy: claimed unit, one of `molgeo.units.ENERGY_UNITS`.
        length: claimed unit, one of `molgeo.units.LENGTH_UNITS`.
        force: claimed unit, ``ENERGY/LENGTH``; empty for energy over length.

    Raises:
        ValueError: the message names the number, what was expected, the factor and the unit that
            would explain it.
    """
    frames = _sample(molecules)
    ratio, constant = bonds_to_hydrogen(frames)
    if not math.isnan(ratio) and not BOND_RATIO[0] < ratio < BOND_RATIO[1]:
        _refuse("length_unit", length, LENGTH_UNITS, ratio, "lengths of bonds to hydrogen")
    if not math.isnan(constant) and not FORCE_CONSTANT[0] < constant < FORCE_CONSTANT[2]:
        what = f"force constants of bonds to hydrogen ({constant:.3g} eV/Å²)"
        excess = constant / FORCE_CONSTANT[1]
        if not force:
            _refuse("energy_unit", energy, ENERGY_UNITS, excess, what)
        names = [f"{e}/{l}" for e in ENERGY_UNITS for l in LENGTH_UNITS]
        _refuse("force_unit", force, {name: force_unit(name) for name in names}, excess, what)
    ratio = energy_over_work(frames)
    if not math.isnan(ratio) and not WORK_RATIO[0] < ratio < WORK_RATIO[1]:
        _refuse("energy_unit", energy, ENERGY_UNITS, ratio, "energy differences of near frames")


def _refuse(field: str, claimed: str, units: Mapping[str, float], ratio: float, what: str) -> None:
    """Raise the error of numbers that are ``ratio`` times what they should be."""
    if ratio < 0:
        advice = "they are gradients, or their sign is wrong: multiply by -1"
    else:
        likely = min(units, key=lambda name: abs(math.log(units[claimed] / units[name] / ratio)))
        factor = units[claimed] / units[likely]
        explains = likely != claimed and abs(math.log(factor / ratio)) < math.log(2.0)
        mend = f"they look like {likely}: {_mend(factor)}, or set {field}: {likely}"
        advice = mend if explains else "no usual unit explains it"
    raise ValueError(
        f"{field}: with {claimed!r} the {what} are {ratio:.3g} times what is plausible; {advice} "
        "(check_units: false trains all the same)"
    )


def _mend(factor: float) -> str:
    return f"divide by {factor:.4g}" if factor > 1 else f"multiply by {1 / factor:.4g}"


class _Frame:
    """One frame in float64."""

    def __init__(self, molecules: MoleculeSet, row: int) -> None:
        first, last = int(molecules.ptr[row]), int(molecules.ptr[row + 1])
        assert molecules.force is not None
        self.z = molecules.z[first:last].numpy()
        self.pos = molecules.pos[first:last].double().numpy()
        self.force = molecules.force[first:last].numpy()
        self.energy = float(molecules.y[row, 0])

    def distances(self) -> Array:
        """(atoms, atoms), infinite on the diagonal."""
        d = np.linalg.norm(self.pos[:, None] - self.pos[None], axis=-1)
        np.fill_diagonal(d, np.inf)
        return d


def _sample(molecules: MoleculeSet) -> list[_Frame]:
    """Runs of neighbouring frames, spread over the set, so that near frames are among them."""
    n = len(molecules)
    run = 50
    starts = np.unique(np.linspace(0, max(0, n - run), FRAMES // run).astype(int))
    rows = np.unique((starts[:, None] + np.arange(run)).clip(max=n - 1))
    if molecules.pbc is not None:
        rows = rows[~molecules.pbc[rows].any(1).numpy()]  # distances here know no boundary
    return [_Frame(molecules, int(row)) for row in rows]


def bonds_to_hydrogen(frames: list[Any]) -> tuple[float, float]:
    """Median length over the sum of covalent radii, and the force constant in eV/Å².

    The constant is the slope of the force on a hydrogen along its bond against the bond's length,
    both from the median of their kind of bond, for bonds within 0.15 Å of it.

    Returns:
        NaN where there are too few bonds, or all of one length.
    """
    radii = np.array(COVALENT_RADII)
    kinds, lengths, pulls = [], [], []
    for frame in frames:
        if len(frame.z) < 2:
            continue
        d = frame.distances()
        (h,) = np.nonzero(frame.z == 1)
        x = d[h].argmin(1)
        length = d[h, x]
        bond = (frame.pos[h] - frame.pos[x]) / length[:, None]
        kinds.append(frame.z[x])
        lengths.append(length)
        pulls.append((frame.force[h] * bond).sum(1))
    if sum(map(len, kinds)) < FEWEST:
        return math.nan, math.nan
    kind, length, pull = map(np.concatenate, (kinds, lengths, pulls))
    ratio = float(np.median(length / (radii[1] + radii[kind])))
    scale = ratio if not BOND_RATIO[0] < ratio < BOND_RATIO[1] else 1.0
    stretch, residual = length.copy(), pull.copy()
    for k in np.unique(kind):
        stretch[kind == k] -= np.median(length[kind == k])
        residual[kind == k] -= np.median(pull[kind == k])
    near = np.abs(stretch) < 0.15 * scale
    if near.sum() < FEWEST or stretch[near].std() < 0.005 * scale:
        return ratio, math.nan
    constant = -float((stretch * residual)[near].sum() / np.square(stretch[near]).sum())
    return ratio, constant


def energy_over_work(frames: list[Any]) -> float:
    """Median of ``ΔE / W`` over near frames of the same molecule, ``W = −½ Σ (F_a + F_b)·Δr``.

    The frames are superposed first. The nearest half of the pairs is taken, and of those the half
    with more work.

    Returns:
        NaN where there are too few pairs.
    """
    same: dict[bytes, list[Any]] = {}
    for frame in frames:
        same.setdefault(frame.z.tobytes(), []).append(frame)
    pairs = np.array([values for family in same.values() for values in _pairs(family)])
    if len(pairs) < FEWEST:
        return math.nan
    step, work, change = pairs.T
    near = step <= np.median(step)
    large = near & (np.abs(work) >= np.median(np.abs(work[near]))) & (work != 0.0)
    return float(np.median(change[large] / work[large])) if large.any() else math.nan


def _pairs(family: list[Any]) -> Iterator[tuple[float, float, float]]:
    """Each frame with its nearest of the family: step in Å, work and energy difference in eV."""
    if len(family) < 2 or len(family[0].z) < 2:
        return
    upper = np.triu_indices(len(family[0].z), 1)
    shapes = np.stack([frame.distances()[upper] for frame in family])
    for k, a in enumerate(family):
        apart = np.square(shapes - shapes[k]).mean(1)
        apart[k] = np.inf
        b = family[int(apart.argmin())]
        at_a, at_b = a.pos - a.pos.mean(0), b.pos - b.pos.mean(0)
        rotation = _superposition(at_b, at_a)
        step = at_b @ rotation - at_a
        work = -0.5 * float(((a.force + b.force @ rotation) * step).sum())
        yield float(np.sqrt(np.square(step).mean())), work, b.energy - a.energy


def _superposition(p: Array, q: Array) -> Array:
    """The rotation R that brings ``p R`` closest to ``q`` (Kabsch)."""
    u, _, vt = np.linalg.svd(p.T @ q)
    handed = np.sign(np.linalg.det(u @ vt))
    rotation: Array = u @ np.diag([1.0, 1.0, handed]) @ vt
    return rotation
