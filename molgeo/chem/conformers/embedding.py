"""Distance geometry: coordinates of a molecule from its bonds alone, by a ladder of settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DistanceGeometry
from rdkit.Chem import rdDistGeom

from molgeo.chem.bonds import agree, conformer, has_stereo
from molgeo.chem.conformers.force_field import minimise
from molgeo.chem.limits import Clock

SEED: Final = 42

ATTEMPTS: Final = 5
"""How many ways are tried: the ladder, then distances alone. Molecules that failed when there were
fewer are worth another call."""

BOUNDS_TRIES: Final = 8  # random distances that are tried last


class Rung(NamedTuple):
    """Changes to ETKDGv3's settings, and how many seeds are tried while the stereo is wrong."""

    changes: dict[str, Any]
    tries: int = 1


_FAST: Final = {"maxIterations": 20, "optimizerForceTol": 0.0135}
_BARE: Final = {
    "useRandomCoords": True,
    "useBasicKnowledge": False,
    "useExpTorsionAnglePrefs": False,
    "useMacrocycleTorsions": False,
    "useMacrocycle14config": False,
}
"""Distance geometry without what ETKDG knows of torsions and rings."""

LADDER: Final = (
    Rung(_FAST),
    Rung({**_FAST, "enforceChirality": False}, tries=8),
    Rung(
        {
            **_BARE,
            "maxIterations": 20,
            "ignoreSmoothingFailures": True,
            "enforceChirality": False,
        },
        tries=8,
    ),
    Rung({**_FAST, "maxIterations": 100, "useRandomCoords": True}),
)
"""Successive attempts, from ETKDGv3's own settings to plain distance geometry; after them come
distances alone (`_from_bounds`).

RDKit enforces stereo by rejecting what came out wrong, and measures it in a way that strained cages
defy. Where that fails a few times, it is faster and succeeds more often to let each centre fall as
it may, in one of the few combinations that a cage allows, and to compare the whole, or its mirror
image, with the SMILES. The tolerance is RDKit's recommendation for speed.
"""


LARGE: Final = 100  # atoms above which `LARGE_LADDER` is climbed
LARGE_LADDER: Final = (
    Rung({"maxIterations": 10, "useRandomCoords": True}),
    Rung({**_BARE, "maxIterations": 10}),
)
"""For large molecules, whose first coordinates RDKit's matrices rarely give. With their many
centres, no luck would replace enforced stereo."""


def attempts(mol: Chem.Mol, n: int, clock: Clock) -> Iterator[tuple[list[int], bool]]:
    """Climb the ladder; whoever is content with a result asks for no more.

    Each conformer has seeds of its own, so that the first ones do not depend on how many are made.

    Args:
        mol: with explicit hydrogens; gets the conformers of each successful attempt in turn.
        n: conformers to try.
        clock: looked at before each conformer.

    Yields:
        The numbers, ascending from 0, of the conformers that the molecule now has; and whether it
        was RDKit that looked after bonds and stereo, so that they need no closer look.

    Raises:
        RuntimeError: the ladder is at its end, and RDKit failed at an invariant on the way.
        OutOfTimeError: by the clock.
    """
    is_large = mol.GetNumAtoms() > LARGE
    ladder = LARGE_LADDER if is_large else LADDER
    ways: list[Callable[[int], bool]] = [partial(_embed, mol, rung, clock) for rung in ladder]
    if not is_large:
        ways.append(partial(_from_bounds, mol, clock))
    crash: RuntimeError | None = None
    for k, way in enumerate(ways):
        mol.RemoveAllConformers()
        together = partial(_together, mol, ladder[0], clock) if k == 0 and not is_large else None
        try:
            numbers = _climb(n, way, together)
        except RuntimeError as error:  # of one setting: the next one may do
            crash, numbers = error, []
        if numbers:
            yield numbers, k == 0
    if crash is not None:
        raise crash


def _climb(
    n: int, one: Callable[[int], bool], together: Callable[[int], bool] | None = None
) -> list[int]:
    """Numbers of the conformers that could be made; none if the first one could not.

    Args:
        n: conformers to try.
        one: makes one of them.
        together: makes all of them again in less time, or none; None if there is no such way.
    """

    def another(number: int) -> bool:
        try:
            return one(number)
        except RuntimeError:  # of this seed: the first conformer stands
            return False

    if not one(0):
        return []
    if n > 1 and together is not None and together(n):
        return list(range(n))
    return [0, *filter(another, range(1, n))]


def _together(mol: Chem.Mol, rung: Rung, clock: Clock, n: int) -> bool:
    """Make n conformers in one call, in place of those that are there; whether it made all.

    They are those that `_embed` makes, bit by bit, but RDKit prepares the molecule once: sixteen of
    a molecule of QM9 take two thirds of the time. If it makes fewer, nobody knows which ones are
    missing, and everything stays as it was.
    """
    left = clock.left()
    if 0 < left < n:
        return False
    trial, settings = Chem.Mol(mol), _settings(rung)
    settings.clearConfs, settings.randomSeed, settings.timeout = True, _seed(0, 0), left // n
    try:
        made = rdDistGeom.EmbedMultipleConfs(trial, n, settings)
    except RuntimeError:  # of one seed
        return False
    clock.check()
    if len(made) < n:
        return False
    mol.RemoveAllConformers()
    for one in trial.GetConformers():
        mol.AddConformer(one, assignId=True)
    return True


def _settings(rung: Rung) -> Any:
    """ETKDGv3's settings with the changes of a rung."""
    settings: Any = rdDistGeom.ETKDGv3()
    settings.numThreads = 1
    settings.clearConfs = False
    for name, value in rung.changes.items():
        setattr(settings, name, value)
    return settings


def _embed(mol: Chem.Mol, rung: Rung, clock: Clock, number: int) -> bool:
    """Add one conformer; whether there is one with the right stereo."""
    settings = _settings(rung)
    for k in range(rung.tries):
        settings.randomSeed = _seed(number, k)
        settings.timeout = clock.left()
        found = rdDistGeom.EmbedMolecule(mol, settings)
        clock.check()
        if found < 0:
            return False
        if settings.enforceChirality or _turn(mol, mol.GetConformer(found)):
            return True
        mol.RemoveConformer(found)
    return False


def _seed(number: int, k: int) -> int:
    """Seed of a conformer's try; the first is RDKit's own for conformers embedded at once."""
    return (number + 1) * SEED + k * SEED**3


def _turn(mol: Chem.Mol, conformer: Chem.Conformer) -> bool:
    """Whether a conformer, or else its mirror image, which then takes its place, is as wanted."""
    pos = conformer.GetPositions()
    for image in (pos, -pos):
        if has_stereo(mol, image):
            conformer.SetPositions(image)
            return True
    return False


def _from_bounds(mol: Chem.Mol, clock: Clock, number: int) -> bool:
    """Add the best of a few conformers from random distances; whether one is the molecule.

    RDKit's embedding rejects what it finds too far from tetrahedral, and some cages are. Here a
    force field judges, and of what it turns into this very molecule the lowest counts.
    """
    # (atoms, atoms) RDKit's bounds of distances, upper and lower triangle, made consistent.
    bounds = rdDistGeom.GetMoleculeBoundsMatrix(mol, doTriangleSmoothing=False)
    DistanceGeometry.DoTriangleSmoothing(bounds)
    best: tuple[float, NDArray[np.float64]] | None = None
    for k in range(BOUNDS_TRIES):
        try:
            start = DistanceGeometry.EmbedBoundsMatrix(bounds, randomSeed=_seed(number, k))
        except ValueError:  # these distances fit in no space of three dimensions
            continue
        trial = Chem.Mol(mol)
        trial.RemoveAllConformers()
        trial.AddConformer(conformer(np.array(start)))
        (energy,), _ = minimise(trial, clock)
        made = trial.GetConformer()
        is_lower = best is None or energy < best[0]
        if is_lower and agree(trial, made.GetPositions()) and _turn(trial, made):
            best = energy, made.GetPositions()
    if best is not None:
        mol.AddConformer(conformer(best[1]), assignId=True)
    return best is not None
