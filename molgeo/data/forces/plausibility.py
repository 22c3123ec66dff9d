"""Whether energies and forces can be in the units that are claimed for them.

Three numbers hardly depend on the chemistry:

* the length of bonds to hydrogen over the sum of covalent radii, about 1;
* the force constant of their stretching over that of their kind, about 1 at any level of theory;
* the change of the energy between near frames over the work of the forces, 1.

The first tells the unit of length, the second that of the forces and the third that of the energy.
Right data must never be refused: if bonds do not stretch or frames are not near, as in sets of
relaxed molecules or of one frame per molecule, and if single values do not agree with each other,
nothing is concluded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molgeo.data.molecules import MoleculeSet
from molgeo.elements import COVALENT_RADII
from molgeo.graph.environments import bonds, environments, near_pairs
from molgeo.runtime.errors import SettingError
from molgeo.units import ENERGY_UNITS, LENGTH_UNITS, force_unit

Array = NDArray[np.float64]

BOND_RATIO: Final = (0.7, 1.45)
"""Length of a bond to hydrogen over the sum of covalent radii, and its bounds."""

FORCE_CONSTANTS: Final = {
    5: 22.0,
    6: 31.0,
    7: 41.0,
    8: 48.0,
    9: 60.0,
    14: 18.0,
    15: 20.0,
    16: 26.0,
    17: 32.0,
    32: 16.5,
    33: 17.5,
    34: 21.5,
    35: 25.7,
    53: 19.6,
}
"""eV/Å², of stretching bonds to hydrogen, by atomic number, as vibrational spectra of hydrides tell
them. Bonds to other elements, such as the soft ones to metals, are not looked at."""

STIFFNESS_RATIO: Final = (0.4, 2.5)
"""Force constant over that of `FORCE_CONSTANTS`, and its bounds."""

WORK_RATIO: Final = (0.4, 2.5)
"""Bounds of energy differences over work. Curved paths between frames make it smaller than 1."""

NEAR: Final = 0.2
"""Å, the largest root mean square step between near frames. Their ratios of energy and work are
0.6 to 1.2 for three quarters of the pairs; beyond 0.3 Å they are anything."""

STRETCHED: Final = 0.01
"""Å, the least spread of a bond's length that tells its force constant."""

AGREEMENT: Final = 0.7
"""Least correlation of stretch and force, and of the quartiles of energy over work the least ratio
is its half: numbers that agree less tell nothing."""

FRAMES: Final = 1000
"""Frames looked at."""

CANDIDATES: Final = 5000
"""Frames among which those of the same molecule are sought."""

FEWEST: Final = 20
"""Bonds below which nothing is concluded."""

FEWEST_PAIRS: Final = 8
"""Pairs of near frames below which nothing is concluded."""

Setting = Callable[[str, str], str]
"""How a user sets something: name and value → text for a message."""


def as_key(name: str, value: str) -> str:
    """As a key of a config: ``energy_unit: hartree``."""
    return f"{name}: {value}"


def as_option(name: str, value: str) -> str:
    """As an option of the command line: ``--energy-unit hartree``."""
    return f"--{name.replace('_', '-')} {value}"


def check_units(
    molecules: MoleculeSet,
    energy: str = "eV",
    length: str = "angstrom",
    force: str = "",
    setting: Setting = as_key,
) -> None:
    """Raise ValueError if a data set's numbers speak against the units claimed for them.

    Args:
        molecules: converted to eV and Å by these units.
        energy: claimed unit, one of `molgeo.units.ENERGY_UNITS`.
        length: claimed unit, one of `molgeo.units.LENGTH_UNITS`.
        force: claimed unit, ``ENERGY/LENGTH``; empty for energy over length.
        setting: how the message says what to set.

    Raises:
        ValueError: the message names the number, what was expected, the factor and the unit that
            would explain it, and how to go on without this check.
    """
    frames = _sample(molecules)
    ratio = bond_length_ratio(frames)
    if not math.isnan(ratio) and not BOND_RATIO[0] < ratio < BOND_RATIO[1]:
        what = "lengths of bonds to hydrogen"
        _refuse("length_unit", length, LENGTH_UNITS, ratio, what, setting)
    ratio = stiffness(frames)
    if not math.isnan(ratio) and not STIFFNESS_RATIO[0] < ratio < STIFFNESS_RATIO[1]:
        what = "force constants of bonds to hydrogen"
        if not force:
            _refuse("energy_unit", energy, ENERGY_UNITS, ratio, what, setting)
        names = [f"{e}/{l}" for e in ENERGY_UNITS for l in LENGTH_UNITS]
        units = {name: force_unit(name) for name in names}
        _refuse("force_unit", force, units, ratio, what, setting)
    ratio = energy_over_work(frames)
    if not math.isnan(ratio) and not WORK_RATIO[0] < ratio < WORK_RATIO[1]:
        what = "energy differences of near frames"
        _refuse("energy_unit", energy, ENERGY_UNITS, ratio, what, setting)


def _refuse(
    field: str,
    claimed: str,
    units: Mapping[str, float],
    ratio: float,
    what: str,
    setting: Setting,
) -> None:
    """Raise the error of numbers that are ``ratio`` times what they should be."""
    if ratio < 0:
        advice = "forces are gradients, or a sign is wrong: multiply forces or energies by -1"
    else:
        likely = min(units, key=lambda name: abs(math.log(units[claimed] / units[name] / ratio)))
        factor = units[claimed] / units[likely]
        explains = likely != claimed and abs(math.log(factor / ratio)) < math.log(2.0)
        mend = f"they look like {likely}: {_mend(factor)}, or set {setting(field, likely)}"
        advice = mend if explains else "no usual unit explains it"
    raise SettingError(
        f"{field}: with {claimed!r} the {what} are {ratio:.3g} times what is plausible; {advice} "
        f"({setting('check_units', 'false')} goes on all the same)"
    )


def _mend(factor: float) -> str:
    return f"divide by {factor:.4g}" if factor > 1 else f"multiply by {1 / factor:.4g}"


class _Frame:
    """One frame in float64; frames of the same atoms, bonds and charge are of one family."""

    def __init__(self, molecules: MoleculeSet, row: int) -> None:
        first, last = int(molecules.ptr[row]), int(molecules.ptr[row + 1])
        assert molecules.force is not None
        self.z = molecules.z[first:last].numpy().astype(np.int64)
        self.pos = molecules.pos[first:last].double().numpy()
        self.force = molecules.force[first:last].numpy()
        self.energy = float(molecules.y[row, 0])
        ptr = np.array([0, len(self.z)])
        self.bonds = bonds(self.z, near_pairs(self.z, self.pos, ptr))
        self.family = b"|".join(part.tobytes() for part in (self.z, *self.bonds[:2]))
        if molecules.charge is not None:
            self.family += b"|%d" % int(molecules.charge[row])

    def distances(self) -> Array:
        """(atoms, atoms), infinite on the diagonal."""
        d = np.linalg.norm(self.pos[:, None] - self.pos[None], axis=-1)
        np.fill_diagonal(d, np.inf)
        return d


def _sample(molecules: MoleculeSet) -> list[_Frame]:
    """Frames spread over the set, those of molecules with several frames before others.

    Candidates are runs of neighbouring frames, which in trajectories are near each other.
    """
    n = len(molecules)
    run = 50
    starts = np.unique(np.linspace(0, max(0, n - run), CANDIDATES // run).astype(int))
    rows = np.unique((starts[:, None] + np.arange(run)).clip(max=n - 1))
    if molecules.pbc is not None:
        rows = rows[~molecules.pbc[rows].any(1).numpy()]  # distances here know no boundary
    families: dict[bytes, list[_Frame]] = {}
    for frame in (_Frame(molecules, row) for row in rows.tolist()):
        families.setdefault(frame.family, []).append(frame)
    largest = sorted(families.values(), key=len, reverse=True)[: FRAMES // 2]
    each = max(2, FRAMES // max(1, len(largest)))
    return [frame for family in largest for frame in _runs_of(family, each)]


def _runs_of(family: list[_Frame], n: int) -> list[_Frame]:
    """Some n of these frames in a few runs, so that neighbours stay together."""
    if len(family) <= n:
        return family
    run = min(n, 50)
    starts = np.linspace(0, len(family) - run, max(1, n // run)).astype(int)
    return [family[k] for k in np.unique(starts[:, None] + np.arange(run)).tolist()]


def bond_length_ratio(frames: list[_Frame]) -> float:
    """Median distance from hydrogen to its nearest atom over the sum of covalent radii.

    Returns:
        NaN if there are too few hydrogens.
    """
    radii = np.array(COVALENT_RADII)
    ratios = []
    for frame in frames:
        if len(frame.z) > 1 and (frame.z == 1).any():
            (h,) = np.nonzero(frame.z == 1)
            d = frame.distances()[h]
            ratios.append(d.min(1) / (radii[1] + radii[frame.z[d.argmin(1)]]))
    found = np.concatenate(ratios) if ratios else np.zeros(0)
    return float(np.median(found)) if len(found) >= FEWEST else math.nan


def stiffness(frames: list[_Frame]) -> float:
    """Force constant of bonds from hydrogen to nonmetals, over the usual one of their kind.

    It is the slope of the force on a hydrogen along its bond against the bond's length times the
    usual constant, both from the median of bonds to atoms of the same environment, for bonds within
    0.15 Å of it. A hydrogen that bridges two atoms is left out.

    Returns:
        NaN if there are too few bonds, all are of one length, or length does not explain force.
    """
    usual = np.array([FORCE_CONSTANTS.get(z, 0.0) for z in range(len(COVALENT_RADII))])
    kinds: list[str] = []
    lengths, pulls, constants = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for frame in frames:
        i, j, length = frame.bonds
        n_bonds = np.bincount(np.concatenate([i, j]), minlength=len(frame.z))
        h, x = (np.where(frame.z[i] == 1, a, b) for a, b in ((i, j), (j, i)))
        one = (frame.z[h] == 1) & (n_bonds[h] == 1) & (usual[frame.z[x]] > 0.0)
        h, x = h[one], x[one]
        bond = (frame.pos[h] - frame.pos[x]) / length[one, None]
        kinds += environments(frame.z, frame.bonds, x)
        lengths.append(length[one])
        pulls.append((frame.force[h] * bond).sum(1))
        constants.append(usual[frame.z[x]])
    stretch, pull = np.concatenate(lengths), np.concatenate(pulls)
    _, kind = np.unique(kinds, return_inverse=True)
    for k in range(kind.max(initial=-1) + 1):
        stretch[kind == k] -= np.median(stretch[kind == k])
        pull[kind == k] -= np.median(pull[kind == k])
    near = np.abs(stretch) < 0.15
    if near.sum() < FEWEST or stretch[near].std() < STRETCHED:
        return math.nan
    expected, pull = (np.concatenate(constants) * stretch)[near], pull[near]
    together, own = float(expected @ pull), float(expected @ expected)
    correlation = together / math.sqrt(own * max(float(pull @ pull), 1e-300))
    return -together / own if abs(correlation) > AGREEMENT else math.nan


def energy_over_work(frames: list[_Frame]) -> float:
    """Median of ``ΔE / W`` over near frames of the same molecule, ``W = −½ Σ (F_a + F_b)·Δr``.

    Frames of the same molecule have the same bonds. They are superposed, and of those at most
    `NEAR` apart the half with more work is taken.

    Returns:
        NaN if there are too few pairs, or if they do not agree with each other.
    """
    same: dict[bytes, list[_Frame]] = {}
    for frame in frames:
        same.setdefault(frame.family, []).append(frame)
    pairs = [pair for family in same.values() for pair in _near_pairs_of(family)]
    if len(pairs) < 2 * FEWEST_PAIRS:
        return math.nan
    work, change = np.array(pairs).T
    large = (np.abs(work) >= np.median(np.abs(work))) & (work != 0.0)
    if large.sum() < FEWEST_PAIRS:
        return math.nan
    low, middle, high = np.quantile(change[large] / work[large], (0.25, 0.5, 0.75))
    # Of one sign, and not too far from each other.
    agree = min(low / high, high / low) > 0.5 * AGREEMENT if low * high > 0 else False
    return float(middle) if agree else math.nan


def _near_pairs_of(family: list[_Frame]) -> Iterator[tuple[float, float]]:
    """Work and energy difference, in eV, of each frame with its nearest, if that is near."""
    if len(family) < 2 or len(family[0].z) < 2:
        return
    upper = np.triu_indices(len(family[0].z), 1)
    shapes = np.stack([frame.distances()[upper] for frame in family])
    done = set()
    for k, a in enumerate(family):
        apart = np.square(shapes - shapes[k]).mean(1)
        apart[k] = np.inf
        nearest = int(apart.argmin())
        if (nearest, k) in done:
            continue
        done.add((k, nearest))
        b = family[nearest]
        at_a, at_b = a.pos - a.pos.mean(0), b.pos - b.pos.mean(0)
        rotation = _superposition(at_b, at_a)
        step = at_b @ rotation - at_a
        if math.sqrt(np.square(step).sum(1).mean()) <= NEAR:
            yield -0.5 * float(((a.force + b.force @ rotation) * step).sum()), b.energy - a.energy


def _superposition(p: Array, q: Array) -> Array:
    """The rotation R that brings ``p R`` closest to ``q`` (Kabsch)."""
    u, _, vt = np.linalg.svd(p.T @ q)
    handed = np.sign(np.linalg.det(u @ vt))
    rotation: Array = u @ np.diag([1.0, 1.0, handed]) @ vt
    return rotation
