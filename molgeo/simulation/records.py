"""What a run leaves behind: frames and a table, which can be cut back to where a state was."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

from molgeo.runtime.errors import InputError
from molgeo.runtime.whole_file import replacing

ENDINGS: Final = (".extxyz", ".xyz", ".traj")
"""Of trajectories: extended xyz, or ASE's own."""

_IN_TEXT: Final = (FixAtoms, FixCartesian)
"""Constraints that extended xyz can hold."""


def keep_results(frame: Atoms, results: Mapping[str, Any]) -> None:
    """Give a frame the results that a file can hold, without the calculator.

    Energy, forces and stress go where ASE looks for them. What ASE has no name for becomes
    ``energy_std`` in ``info`` and ``forces_std`` in ``arrays``.

    Args:
        frame: changed; its constraints are not applied to the forces.
        results: of a calculator, for these atoms.
    """
    known = {name: results[name] for name in ("energy", "forces", "stress") if name in results}
    frame.calc = SinglePointCalculator(frame, **known)
    if "energy_std" in results:
        frame.info["energy_std"] = results["energy_std"]
    if "forces_std" in results:
        frame.set_array("forces_std", results["forces_std"], float, ())


def lost_constraints(path: Path, atoms: Atoms) -> str | None:
    """What a file cannot hold of constraints, as a sentence; extended xyz has fixed atoms alone.

    Args:
        path: of the file.
        atoms: that are to be written.
    """
    others = {type(c).__name__ for c in atoms.constraints if not isinstance(c, _IN_TEXT)}
    if path.suffix.lower() == ".traj" or not others:
        return None
    return f"{path} cannot hold {', '.join(sorted(others))}, which are kept: .traj holds them too"


class TextRecord:
    """A text file that grows.

    Args:
        path: overwritten if there is no mark.
        mark: bytes to keep, from `mark`; None to begin anew.

    Raises:
        InputError: the file is shorter than the mark.
    """

    def __init__(self, path: Path, mark: int | None = None) -> None:
        if mark is not None:
            size = path.stat().st_size if path.exists() else 0
            if size < mark:
                raise InputError(f"{path}: expected {mark} bytes or more to resume, got {size}")
            os.truncate(path, mark)
        self._file = path.open("w" if mark is None else "a", encoding="utf-8", newline="")

    def mark(self) -> int:
        """Bytes, all of them on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Write what is kept."""
        self._file.close()


class Table(TextRecord):
    """A CSV file with a header.

    Args:
        path: as in `TextRecord`.
        columns: names, in order.
        mark: as in `TextRecord`.
    """

    def __init__(self, path: Path, columns: Sequence[str], mark: int | None = None) -> None:
        super().__init__(path, mark)
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")
        if mark is None:
            self._writer.writeheader()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one line; None leaves its field empty."""
        self._writer.writerow(row)
        self._file.flush()


class TextFrames(TextRecord):
    """Frames in extended xyz; arguments as in `TextRecord`."""

    def write(self, frame: Atoms) -> None:
        """Write one frame, in one piece."""
        text = io.StringIO()
        write_extxyz(text, frame)
        self._file.write(text.getvalue())
        self._file.flush()


class AseFrames:
    """Frames in ASE's own format.

    Args:
        path: overwritten if there is no mark.
        mark: frames to keep; None to begin anew.

    Raises:
        InputError: the file has fewer frames than the mark, or is none of ASE's.
    """

    def __init__(self, path: Path, mark: int | None = None) -> None:
        if mark is not None:
            _keep_frames(path, mark)
        self._path = path
        self._writer = TrajectoryWriter(path, "w" if mark is None else "a")

    def write(self, frame: Atoms) -> None:
        """Write one frame; arrays that ASE has no name for go into ``info``."""
        if "forces_std" in frame.arrays:
            frame.info["forces_std"] = frame.arrays["forces_std"]
        self._writer.write(frame)

    def mark(self) -> int:
        """Frames, all of them on disk."""
        with self._path.open("rb") as file:  # ASE flushes each frame to the system
            os.fsync(file.fileno())
        return len(self._writer)

    def close(self) -> None:
        """Write what is kept."""
        self._writer.close()


def open_frames(path: Path, mark: int | None = None) -> TextFrames | AseFrames:
    """A trajectory by its ending, one of `ENDINGS`; arguments as in `TextRecord`."""
    return AseFrames(path, mark) if path.suffix.lower() == ".traj" else TextFrames(path, mark)


def _keep_frames(path: Path, n: int) -> None:
    """Cut a trajectory of ASE's, whose index is inside the file, by copying what stays."""
    try:
        with TrajectoryReader(path) as before:
            if len(before) == n:
                return
            if len(before) < n:
                raise InputError(f"{path}: expected {n} frames or more, got {len(before)}")
            with replacing(path) as part, TrajectoryWriter(part, "w") as after:
                for k in range(n):
                    after.write(before[k])
    except (OSError, KeyError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as a trajectory of ASE: {error}") from error
