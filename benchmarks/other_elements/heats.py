"""What vibrations add to the energies of molecules at QM9's level.

PPE1694 has frequencies at that level. Of other molecules they are AIMNet2's, times a factor below
`STIFF` and another above it, with which AIMNet2's are PPE1694's on its training molecules.

The zero-point energies of these are 10 meV from B3LYP's, and what is left goes with bonds and the
atoms around them: C–H vibrates too slowly in CH2, and less so in benzene. So each kind of bond and
of atom has a shift, by least squares over training molecules of PPE1694 and of QM9.
"""

from __future__ import annotations

import collections
import sys
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import ase
import ase.io
import numpy as np
import pandas as pd
from minima import LABELLED_QM9, OF_QM9, Kind, bonds_of
from thermal import SCALED, thermal

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

from labelled import by_name  # noqa: E402
from relax import neighbours  # noqa: E402

STIFF: Final = 2000.0
"""1/cm, above which bonds to hydrogen stretch."""
HEATS: Final = ("zpve", "cv", "u298", "h298", "g298")
RIDGE: Final = 4.0
"""Bonds and atoms of no shift that each kind has beside its own, so that rare ones have none."""


class Compared(NamedTuple):
    """A training molecule of PPE1694.

    Attributes:
        atoms: at B3LYP's minimum.
        own: frequencies at QM9's level, 1/cm, ascending.
        other: AIMNet2's, as many.
    """

    atoms: ase.Atoms
    own: np.ndarray
    other: np.ndarray


@cache
def compared() -> list[Compared]:
    """Training molecules of which both frequencies are known."""
    found = []
    table = pd.read_csv(HERE / "molecules.csv").set_index("name")
    ours = by_name(HERE / "frequencies.jsonl")
    for atoms in ase.io.iread(HERE / "geometries.extxyz", ":"):
        name = atoms.info["name"]
        if "frequencies" not in atoms.info or table.loc[name, "part"] != "train":
            continue
        own = np.sort(np.atleast_1d(atoms.info["frequencies"])) / SCALED
        other = np.sort(ours.get(name, {}).get("frequencies_cm", ()))
        if len(own) and len(own) == len(other):
            found.append(Compared(atoms, own, other))
    return found


@cache
def factors() -> tuple[float, float]:
    """Of AIMNet2's frequencies, below and above `STIFF`."""
    sums = np.zeros((2, 2))
    for one in compared():
        for k, some in enumerate((one.own < STIFF, one.own >= STIFF)):
            sums[k] += one.own[some].sum(), one.other[some].sum()
    low, high = (sums[:, 0] / sums[:, 1].clip(1e-9)).tolist()
    return low, high


def scaled(atoms: ase.Atoms, other: list[float]) -> dict[str, float] | None:
    """What AIMNet2's frequencies add, times their factors, before the shift."""
    low, high = factors()
    return thermal(atoms, [f * (low if f < STIFF else high) for f in other])


def kinds_of(atoms: ase.Atoms) -> collections.Counter[Kind]:
    """Bonds by elements and numbers of neighbours, and atoms by the elements of their neighbours.

    So ``(C4, H1)`` of a C–H bond, and ``(C, C, H, H, H)`` of the carbon of a methyl group.
    """
    found = collections.Counter(kinds[0] for kinds in bonds_of(atoms)[1])
    for symbol, near in zip(atoms.symbols, neighbours(atoms), strict=True):
        found[symbol, *sorted(atoms.symbols[j] for j in near)] += 1
    return found


@cache
def shifts() -> dict[Kind, float]:
    """Kind → what each bond or atom of it adds to a zero-point energy of `scaled`, eV."""
    known: list[tuple[ase.Atoms, float, list[float]]] = []
    for one in compared():
        exact = thermal(one.atoms, one.own.tolist())
        if exact is not None:
            known.append((one.atoms, exact["zpve"], one.other.tolist()))
    ours = by_name(HERE / OF_QM9)
    for atoms in ase.io.iread(HERE / LABELLED_QM9, ":"):
        other = ours[str(atoms.info["name"])]["frequencies_cm"]
        known.append((atoms, atoms.info["zpve"], other))
    found, wanted = [], []
    for atoms, exact, other in known:
        made = scaled(atoms, other)
        if made is not None:
            found.append(kinds_of(atoms))
            wanted.append(exact - made["zpve"])
    names = [*dict.fromkeys(kind for some in found for kind in some)]
    design = np.array([[some[kind] for kind in names] for some in found], dtype=float)
    rare = RIDGE**0.5 * np.eye(len(names))
    values = np.append(wanted, np.zeros(len(names)))
    fit = np.linalg.lstsq(np.vstack([design, rare]), values, rcond=None)[0]
    return dict(zip(names, fit.tolist(), strict=True))


def heats(atoms: ase.Atoms, other: list[float] | None) -> dict[str, float]:
    """What vibrations add at QM9's level, as of `thermal`; NaN if nobody knows it.

    Args:
        atoms: with B3LYP's frequencies if these are known.
        other: AIMNet2's, 1/cm.
    """
    if "frequencies" in atoms.info:
        made = thermal(atoms, (np.atleast_1d(atoms.info["frequencies"]) / SCALED).tolist())
    else:
        made = None if other is None else scaled(atoms, other)
        if made is not None:
            shift = sum(n * shifts().get(kind, 0.0) for kind, n in kinds_of(atoms).items())
            made |= {name: made[name] + shift for name in HEATS if name != "cv"}
    return made or dict.fromkeys(HEATS, np.nan)


def with_heats(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Molecules with what vibrations tell: `HEATS`, and ``u0``.

    Args:
        table: with ``atoms`` and the electronic ``energy``, by name.
        folder: with frequencies.jsonl.
    """
    vibrating, rows = by_name(folder / "frequencies.jsonl"), []
    for name, atoms, energy in zip(table.index, table["atoms"], table["energy"], strict=True):
        added = heats(atoms, vibrating.get(name, {}).get("frequencies_cm"))
        total = {"u0": energy + added["zpve"]}
        total |= {key: energy + added[key] for key in ("u298", "h298", "g298")}
        rows.append({"name": name, "zpve": added["zpve"], "cv": added["cv"], **total})
    return table.join(pd.DataFrame(rows).set_index("name"))
