"""One row of input: a molecule with coordinates, a SMILES that still needs them, or a bad row.

Rows are plain values: whatever is wrong with one of them is a `BadRow` in its place, never an
exception, so that no row can stop the others. `InputError` is for what concerns a whole input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS, formula
from molgeo.graph.closest import closest_pair

CHALCOGENS: Final = frozenset((8, 16, 34, 52))
"""Two of their atoms, as O2, SO and S2, have two unpaired electrons."""

MIN_DISTANCE: Final = 0.3
"""Å. Atoms closer than this are an error of the input: the shortest bond, H–H, is 0.74 Å."""


class Frame(NamedTuple):
    """How coordinates made from a SMILES lie in the molecule's canonical form.

    Attributes:
        smiles: canonical and isomeric; molecules of the same one have the same conformers, whatever
            their spelling and handedness.
        order: (atoms,) the atom of the canonical form that each atom is.
        mirrored: the canonical form is the mirror image.
    """

    smiles: str
    order: NDArray[np.int64]
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Molecule:
    """A molecule with coordinates.

    Attributes:
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) float64, Å.
        charge: total charge, e.
        smiles: as given, or derived from the input's bonds; None if bonds are unknown.
        name: the input's name for it, or "".
        input: what the user gave: the SMILES itself, or ``file:line`` or ``file:record``, from 1.
        geometry: how the coordinates were made: ``given``, ``etkdg+mmff``, ``etkdg+uff``.
        cell: (3, 3) lattice vectors in Å, as rows; None for an open system.
        pbc: periodic along each lattice vector.
        open_shell: what the input says of unpaired electrons, as a sentence; "" for nothing.
        atoms: the `ase.Atoms` that it was read from, if any: their constraints, momenta and masses
            are for those who move atoms.
        extra: what else the input says of it, for the output: cells of a table, fields of an SDF,
            by their names there.
        stripped: SMILES of what was taken away from a salt; "" for nothing.
        frame: of coordinates made from a SMILES; None for given ones.
        stereo: what the SMILES leaves open and which isomer was made; "" if it leaves nothing open.
        further: (atoms, 3) Å each, of other conformers that are one row with it.
        energy: eV, by the force field that relaxed it for a model; None if none did.
        log_weight: logarithm of its share among the conformers of its row, up to a constant of the
            row; None if no model weighed them.
    """

    z: NDArray[np.int64]
    pos: NDArray[np.float64]
    charge: int = 0
    smiles: str | None = None
    name: str = ""
    input: str = ""
    geometry: str = "given"
    cell: NDArray[np.float64] | None = None
    pbc: tuple[bool, bool, bool] = (False, False, False)
    open_shell: str = ""
    atoms: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    stripped: str = ""
    frame: Frame | None = None
    stereo: str = ""
    further: tuple[NDArray[np.float64], ...] = ()
    energy: float | None = None
    log_weight: float | None = None

    def conformers(self) -> list[Molecule]:
        """It and its other conformers, as molecules of one conformer each."""
        if not self.further:
            return [self]
        return [replace(self, pos=pos, further=()) for pos in (self.pos, *self.further)]

    def canonical(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """``z`` and ``pos`` of the canonical form: the same numbers for every spelling."""
        if self.frame is None:
            return self.z, self.pos
        place = np.argsort(self.frame.order)
        pos = self.pos[place]
        return self.z[place], -pos if self.frame.mirrored else pos

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.z)

    @property
    def formula(self) -> str:
        """Molecular formula in Hill order: C, H, then the others by symbol; with the charge."""
        if not self.charge:
            return formula(self.z)
        size = abs(self.charge)
        sign = "+" if self.charge > 0 else "-"
        return formula(self.z) + sign + (str(size) if size > 1 else "")


@dataclass(frozen=True)
class SmilesRow:
    """A SMILES that needs coordinates; fields as in `Molecule`."""

    smiles: str
    name: str = ""
    input: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    stripped: str = ""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot become a molecule, and why; fields as in `Molecule`."""

    input: str
    name: str = ""
    smiles: str | None = None
    message: str = ""
    formula: str = ""
    n_atoms: int | None = None
    geometry: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    stripped: str = ""


Row = Molecule | SmilesRow | BadRow


def bad(row: Row, message: str) -> BadRow:
    """A row that goes no further, and why: what is known of it stays."""
    known: dict[str, Any] = (
        {"formula": row.formula, "n_atoms": row.n_atoms} if isinstance(row, Molecule) else {}
    )
    own = row.input, row.name, row.smiles
    return BadRow(*own, message, extra=row.extra, stripped=row.stripped, **known)


def from_arrays(z: Any, pos: Any, **known: Any) -> Molecule | BadRow:
    """Build a molecule from a copy of arrays, tensors or lists.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
        known: other fields of `Molecule`, by name.

    Returns:
        The molecule, or a bad row that names the field, what was expected and what came.
    """
    try:
        numbers = np.array(_plain(z), dtype=np.float64)
        positions = np.array(_plain(pos), dtype=np.float64)
        if positions.size == 0 and numbers.size == 0:
            positions = positions.reshape(0, 3)
        fault = _fault(numbers, positions)
    except (TypeError, ValueError) as error:
        fault = f"z and pos must be arrays of numbers: {error}"
    if fault is None:
        return Molecule(numbers.astype(np.int64), positions, **known)
    said = {key: known[key] for key in ("name", "smiles", "extra") if key in known}
    return BadRow(known.get("input", ""), message=fault, **said)


def _fault(numbers: NDArray[np.float64], positions: NDArray[np.float64]) -> str | None:
    """What is wrong with atomic numbers and coordinates as arrays."""
    if numbers.ndim != 1 or positions.shape != (len(numbers), 3):
        return (
            f"z must be (atoms,) and pos (atoms, 3); got z {numbers.shape}, pos {positions.shape}"
        )
    known = np.isfinite(numbers) & (numbers > 0) & (numbers < len(SYMBOLS))
    whole = known & (numbers == np.rint(numbers))
    if whole.all():
        return None
    odd = numbers[~whole][0]
    dummy = " (X, a dummy atom: leave it out)" if odd == 0 else ""
    return f"z must be atomic numbers, 1 to {len(SYMBOLS) - 1}; got {odd:g}{dummy}"


def is_pair(source: Any) -> bool:
    """``(z, pos)``: two arrays or lists; other tuples hold inputs."""
    if not (isinstance(source, tuple) and len(source) == 2):
        return False
    return all(
        hasattr(part, "__len__")
        and not isinstance(part, str | tuple)
        and not hasattr(part, "numbers")
        and not hasattr(part, "pos")
        for part in source
    )


def _plain(array: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return array.detach().cpu().double().numpy() if hasattr(array, "detach") else array


def check_geometry(molecule: Molecule) -> str | None:
    """Why no model could predict a molecule, whatever its domain; None for a sound one."""
    if any(molecule.pbc):
        return "periodic structure: molgeo predicts molecules; set pbc to F F F if it is one"
    if molecule.n_atoms == 0:
        return "the molecule has no atoms: give at least one"
    finite = np.isfinite(molecule.pos).all(axis=1)
    if not finite.all():
        return f"coordinates of {_atoms(np.flatnonzero(~finite), molecule)} are not finite numbers"
    close = closest_pair(molecule.pos, MIN_DISTANCE)
    if close is not None:
        from molgeo.chem.plausible import implausible

        distance, i, j = close
        return implausible(molecule.z, molecule.pos) or (
            f"{_atoms([i, j], molecule)} are {distance:.3f} Å apart: give coordinates in Å, "
            "with one entry for each atom"
        )
    if molecule.open_shell:
        return f"open shell: {molecule.open_shell}"
    return unpaired_electrons(
        molecule.z, molecule.charge, lambda: f"{molecule.formula}, charge {molecule.charge:+d}"
    )


def unpaired_electrons(z: Any, charge: int, shown: Callable[[], str]) -> str | None:
    """Why a molecule of atomic numbers (atoms,) and a charge in e is an open shell, or None."""
    if (int(np.sum(z)) - charge) % 2:
        return (
            f"odd number of electrons ({shown()}): radicals are not supported; check for a missing "
            "hydrogen, or a charge that was not given"
        )
    if len(z) == 2 and charge == 0 and {*np.asarray(z).tolist()} <= CHALCOGENS:
        return "O2, SO and S2 are triplets: expected a closed shell, which is what the models know"
    return None


def check_bonds(molecule: Molecule) -> str | None:
    """Why given coordinates are not one whole molecule in Å.

    Args:
        molecule: that `check_geometry` has nothing against.

    Returns:
        A sentence that names the reason and the cure; None if there is no reason, also for
        coordinates that a force field made.
    """
    if not molecule.geometry.startswith("given"):
        return None
    from molgeo.chem.plausible import (
        fragments,
        hydrogens_missing,
        hydrogens_of_atom,
        implausible,
        missing_hydrogens,
    )

    z, pos = molecule.z, molecule.pos
    reason = implausible(z, pos)
    if reason is not None:
        return reason
    parts = fragments(z, pos)
    if len(parts) > 1:
        shown = ", ".join(formula(z[part]) for part in parts[:4])
        more = ", …" if len(parts) > 4 else ""
        return f"{len(parts)} separate fragments ({shown}{more}): predict each on its own"
    n = missing_hydrogens(z, pos, molecule.charge)
    if len(z) == 1 and not molecule.charge:
        n = hydrogens_of_atom(int(z[0]))
    return hydrogens_missing(n) if n else None


def _atoms(indices: Sequence[int] | NDArray[np.int64], molecule: Molecule) -> str:
    """``atoms 1 (C), 2 (H)``: counted from 1, as chemists and files do."""
    shown = [f"{i + 1} ({SYMBOLS[molecule.z[i]]})" for i in indices[:4]]
    more = f" and {len(indices) - 4} more" if len(indices) > 4 else ""
    return f"atom{'s' if len(indices) > 1 else ''} {', '.join(shown)}{more}"
