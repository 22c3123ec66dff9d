"""Labels for many structures from any ASE calculator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from molgeo.data.ase_frames import read_ase
from molgeo.generate.journal import Journal
from molgeo.generate.methods import Method
from molgeo.generate.workers import Failure, ordered_map
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.whole_file import is_same_file, replacing

KEPT: Final = ("energy", "forces", "stress", "dipole", "charges")
"""Results that are written if the calculator has them at no cost."""


@dataclass
class Label:
    """Computes one structure; makes its calculator once in each process.

    Attributes:
        method: the calculator.
    """

    method: Method
    _calculator: Calculator | None = None

    def __call__(self, atoms: Atoms) -> Atoms:
        """The structure with energy and forces in a calculator that only holds them.

        Raises:
            Exception: what the calculator raises.
            ValueError: the structure or a result is not made of numbers.
        """
        if not len(atoms) or not np.isfinite(atoms.positions).all():
            raise ValueError("the structure has no atoms, or coordinates that are no numbers")
        # Else a calculation starts from the electrons of the one before, and a label's last digits
        # depend on where a run was killed, and on which process took which structure.
        if isinstance(self._calculator, Calculator):
            self._calculator.reset()
        else:  # there is none yet, or one of ASE's of files, with nothing to reset or to lose
            self._calculator = self.method.make()
        labelled = atoms.copy()
        labelled.calc = self._calculator
        energy, forces = labelled.get_potential_energy(), labelled.get_forces()
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise ValueError("the calculator gives NaN or infinity")
        found = self._calculator.results
        results = {name: found[name] for name in KEPT if found.get(name) is not None}
        labelled.calc = SinglePointCalculator(labelled, **results)
        return labelled

    def __getstate__(self) -> dict[str, Any]:
        """Only the method travels to other processes."""
        return {"method": self.method, "_calculator": None}


def label(
    source: str | Path,
    output: str | Path,
    method: Method,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[int, int]:
    """Compute energies and forces of all structures of a file.

    A run that was killed goes on if it is called again. A structure that fails is set aside with
    its reason in ``OUTPUT.failed.jsonl``.

    Args:
        source: whatever ASE reads with one structure or many.
        output: ``.extxyz``, which grows row by row, in the order of the source; or ``.npz`` (arrays
            ``z, r, f, n, e, group``), made in the end from an extxyz beside it.
        method: the calculator.
        workers: processes; 0 for one per core.
        progress: called with (structures done, structures in all).

    Returns:
        Structures that have labels, and that have none.

    Raises:
        FileNotFoundError: the source does not exist.
        FileExistsError: the npz is there already, and no run that makes it.
        ValueError: it cannot be read, the calculator is not there, or the output is another run's,
            or the source itself.
    """
    output = Path(output)
    if output.suffix not in (".extxyz", ".npz"):
        raise SettingError(f"output: expected a name that ends in .extxyz or .npz, got {output}")
    path = output if output.suffix == ".extxyz" else output.with_suffix(".extxyz")
    for name in (output, path):
        if is_same_file(name, source):
            made = "is" if name == output else f"is made from {name}, which is"
            raise SettingError(f"output: {output} {made} the input: give another name")
    if output != path and output.exists() and not path.exists():
        raise FileExistsError(f"{output} exists, and no run that makes it: give another name")
    method.make()  # so that an error comes here, not in every process
    total = len_of(source)
    about = {"source": str(source), "structures": total}
    about |= {"calculator": method.name, "options": method.options}
    journal = Journal(path, about)
    results = ordered_map(Label(method), structures(source, journal.next_row), workers)
    frames = (result if isinstance(result, Failure) else [result] for result in results)
    journal.keep(frames, total, progress)
    if output.suffix == ".npz":
        write_npz(path, output)
    return total - journal.n_failed, journal.n_failed


def structures(source: str | Path, first: int = 0) -> Iterator[Atoms]:
    """Structures of a file from a row on."""
    yield from itertools.islice(ase.io.iread(source, ":"), first, None)


def len_of(source: str | Path) -> int:
    """Structures in a file.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError: ASE cannot read it.
    """
    if not Path(source).is_file():
        raise FileNotFoundError(f"{source} does not exist; expected a file of structures")
    try:
        return sum(1 for _ in ase.io.iread(source, ":"))
    except Exception as error:  # every format of ASE fails in its own way
        raise InputError(f"{source}: ASE cannot read it: {error}") from error


def write_npz(source: Path, output: Path) -> None:
    """Frames of an extxyz as flat arrays, which load a hundred times faster."""
    frames = read_ase(source)
    with replacing(output) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            z=frames.z.astype(np.uint8),
            r=frames.pos.astype(np.float32),
            f=frames.force.astype(np.float32),
            n=frames.n_atoms.astype(np.int32),
            e=frames.energy,
            group=frames.group,
        )
