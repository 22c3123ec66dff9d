"""Labels for many structures from any ASE calculator."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from molgeo.data.ase_frames import read_ase
from molgeo.generate.journal import FrameJournal, Kept
from molgeo.generate.workers import map_in_processes
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.progress import Progress
from molgeo.runtime.whole_file import is_same_file, replacing

SHORT_NAMES: Final = {
    "xtb": ("tblite.ase:TBLite", {"method": "GFN2-xTB", "verbosity": 0}, "xtb"),
    "pyscf": ("molgeo.generate.pyscf_method:PySCF", {}, "pyscf"),
    "aimnet2": ("molgeo.generate.aimnet2_method:AIMNet2", {}, "aimnet2"),
}
"""Name → class, its options, and the extra of molgeo that brings it."""

KEPT: Final = ("energy", "forces", "stress", "dipole", "charges")
"""Results that are written if the calculator has them at no cost."""


@dataclass(frozen=True)
class Method:
    """A calculator as text.

    Attributes:
        name: ``xtb``, ``pyscf``, ``aimnet2``, or a class as ``package.module:Class``.
        options: arguments of the class.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def calculator(self) -> Calculator:
        """A new one.

        Raises:
            SettingError: there is no such class, its package is not installed, or it refuses the
                options.
        """
        path, defaults, extra = SHORT_NAMES.get(self.name, (self.name, {}, ""))
        module, separator, name = path.partition(":") if ":" in path else path.rpartition(".")
        if not separator:
            raise SettingError(
                f"calculator: expected {', '.join(SHORT_NAMES)} or package.module:Class, "
                f"got {self.name!r}"
            )
        try:
            made = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise self._not_there(extra, error) from error
        except AttributeError as error:
            raise SettingError(f"calculator: {module} has no class {name!r}") from error
        try:
            calculator: Calculator = made(**{**defaults, **self.options})
        except ImportError as error:  # what it imports late
            raise self._not_there(extra, error) from error
        except (TypeError, ValueError) as error:
            raise SettingError(f"calculator: {self.name} refuses its options: {error}") from error
        return calculator

    def _not_there(self, extra: str, error: ImportError) -> SettingError:
        cure = f"pip install 'molgeo[{extra}]'" if extra else "install its package"
        return SettingError(f"calculator: {self.name} is not there ({error}): {cure}")


@dataclass
class Labeller:
    """Computes one structure; makes its calculator once in each process.

    Attributes:
        method: the calculator.
    """

    method: Method
    _calculator: Calculator | None = None

    def __call__(self, atoms: Atoms) -> list[Atoms]:
        """The structure alone, with energy and forces in a calculator that only holds them.

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
            self._calculator = self.method.calculator()
        labelled = atoms.copy()
        labelled.calc = self._calculator
        energy, forces = labelled.get_potential_energy(), labelled.get_forces()
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise ValueError("the calculator gives NaN or infinity")
        found = self._calculator.results
        results = {name: found[name] for name in KEPT if found.get(name) is not None}
        labelled.calc = SinglePointCalculator(labelled, **results)
        return [labelled]

    def __getstate__(self) -> dict[str, Any]:
        """Only the method travels to other processes."""
        return {"method": self.method, "_calculator": None}


def label_structures(
    source: str | Path,
    output: str | Path,
    method: Method,
    workers: int = 0,
    progress: Progress | None = None,
) -> Kept:
    """Compute energies and forces of all structures of a file.

    A run that was killed goes on if it is called again. A structure that fails is set aside with
    its reason in ``NAME.extxyz.failed.jsonl``, for an npz too.

    Args:
        source: whatever ASE reads with one structure or many.
        output: ``.extxyz``, which grows row by row, in the order of the source; or ``.npz`` (arrays
            ``z, r, f, n, e, group``), made in the end from an extxyz beside it.
        method: the calculator.
        workers: processes; 0 for one per core.
        progress: called with (structures done, structures in all).

    Returns:
        How many structures have labels, how many have none, and where the reasons stand.

    Raises:
        FileNotFoundError: the source does not exist.
        FileExistsError: the npz is there already, and no run that makes it.
        UserError: it cannot be read, the calculator is not there, or the output is another run's,
            or the source itself.
    """
    output = Path(output)
    if output.suffix not in (".extxyz", ".npz"):
        raise SettingError(f"output: expected a name that ends in .extxyz or .npz, got {output}")
    path = output.with_suffix(".extxyz")
    for name in (output, path):
        if is_same_file(name, source):
            made = "is" if name == output else f"is made from {name}, which is"
            raise SettingError(f"output: {output} {made} the input: give another name")
    if output != path and output.exists() and not path.exists():
        raise FileExistsError(f"{output} exists, and no run that makes it: give another name")
    method.calculator()  # if it cannot be made, it is told once, not by each structure
    total = _count(source)
    about = {"source": str(source), "structures": total}
    about |= {"calculator": method.name, "options": method.options}
    journal = FrameJournal(path, about)
    left = itertools.islice(ase.io.iread(source, ":"), journal.next_row, None)
    done = journal.keep(map_in_processes(Labeller(method), left, workers), total, progress)
    if output != path:
        _write_npz(path, output)
    return done


def _count(source: str | Path) -> int:
    """Structures in a file."""
    if not Path(source).is_file():
        raise FileNotFoundError(f"{source} does not exist; expected a file of structures")
    try:
        return sum(1 for _ in ase.io.iread(source, ":"))
    except Exception as error:  # every format of ASE fails in its own way
        raise InputError(f"{source}: ASE cannot read it: {error}") from error


def _write_npz(source: Path, output: Path) -> None:
    """Frames of an extxyz as flat arrays, which load a hundred times faster."""
    frames = read_ase(source)
    more: dict[str, Any] = {}
    if frames.charge.any():
        more["charge"] = frames.charge.astype(np.int16)
    with replacing(output) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            z=frames.z.astype(np.uint8),
            r=frames.pos.astype(np.float32),
            f=frames.force.astype(np.float32),
            n=frames.n_atoms.astype(np.int32),
            e=frames.energy,
            group=frames.group,
            **more,
        )
