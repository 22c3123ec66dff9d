"""From any input to a table of properties, in constant memory and in the order of the input.

    read → build geometries → check → batch by size → model → rows

Rows are read in windows. Within a window molecules are sorted by size and packed into batches of
bounded cost; then they take their places again. Whatever is wrong with a row becomes a row with
``status = error`` and a message, and never touches its neighbours.
"""

from __future__ import annotations

import difflib
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard

from molgeo.properties import column

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from molgeo.chem.conformers import Built
    from molgeo.chem.molecule import BadRow, Molecule
    from molgeo.predictor import Predictor

ROW_COLUMNS: Final = (
    "id",
    "name",
    "input",
    "smiles",
    "formula",
    "n_atoms",
    "geometry",
    "status",
    "message",
    "model",
)
"""Columns of every output, before those of the properties."""

CONFORMER_STD: Final = "_conformer_std"
"""Suffix of the column with a property's standard deviation over conformers."""

_WINDOW: Final = {"cpu": 512, "cuda": 4096}
"""Rows that are held at once."""

_PAIRS: Final = {"cpu": 32_000, "cuda": 2_000_000}
"""Σ n² of the molecules of a batch, a bound on its edges: 100 of QM9's molecules on a CPU."""

BatchSize = int | Literal["auto"]
Values = dict[str, float]


class RowError(ValueError):
    """The first bad row, where ``strict`` asks to stop at it."""


def predict(
    inputs: Any,
    model: str | Path | Predictor | None = None,
    properties: str | Sequence[str] | None = None,
    conformers: int = 1,
    batch_size: BatchSize = "auto",
    device: str = "auto",
    strict: bool = False,
) -> pd.DataFrame:
    """Properties of molecules as a table.

    Args:
        inputs: one input or any iterable of inputs, as in `molgeo.chem.readers.read`: SMILES, names
            of files, `ase.Atoms`, PyG ``Data``, RDKit ``Mol``, pairs ``(z, pos)`` with Å.
        model: name of a shipped model, path of a checkpoint, or a predictor; None for the default.
        properties: names, as in `molgeo.properties`, or one string with commas; None for all.
        conformers: how many to make of each SMILES; the values are those of the one with the lowest
            force-field energy, and from 2 on the standard deviation over all is given beside.
        batch_size: most molecules of a batch; "auto" bounds the work of a batch instead.
        device: "cpu", "cuda", or "auto" for the fastest there is.
        strict: stop at the first bad row.

    Returns:
        One row a molecule: `ROW_COLUMNS`, then the properties with their units in their names.

    Raises:
        InputError: an input, property or device that is not there.
        RowError: a bad row, and ``strict``.
    """
    import pandas as pd

    run = PropertyRun(model, properties, conformers, batch_size, device)
    table = pd.DataFrame(list(run.rows(inputs, strict)), columns=run.columns)
    types = {name: "float64" for name in run.columns[len(ROW_COLUMNS) :]}
    return table.astype({"n_atoms": "Int64", **types})


def predict_rows(
    inputs: Any,
    model: str | Path | Predictor | None = None,
    properties: str | Sequence[str] | None = None,
    conformers: int = 1,
    batch_size: BatchSize = "auto",
    device: str = "auto",
    strict: bool = False,
) -> Iterator[dict[str, Any]]:
    """As `predict`, but one row at a time, in constant memory: ``inputs`` may be endless."""
    return PropertyRun(model, properties, conformers, batch_size, device).rows(inputs, strict)


def run_predict(
    inputs: list[str],
    model: str | None = None,
    properties: str | Sequence[str] | None = None,
    output: str | None = None,
    format: str | None = None,
    conformers: int = 1,
    batch_size: BatchSize = "auto",
    device: str = "auto",
    strict: bool = False,
) -> int:
    """The command ``molgeo predict``: rows to standard output or to a file.

    Args:
        inputs: SMILES, ``-`` or names of files.
        model: as in `predict`.
        properties: as in `predict`.
        output: file to write; None for standard output.
        format: table, csv, json or jsonl; None takes it from the ending of ``output``.
        conformers: as in `predict`.
        batch_size: as in `predict`.
        device: as in `predict`.
        strict: as in `predict`.

    Returns:
        Exit status: 0 where all rows are fine, 3 where some failed.

    Raises:
        InputError: wrong usage, unreadable input or unwritable output.
        WriteError: writing failed half-way; what was written stays.
        RowError: a bad row, and ``strict``; the rows before it are written.
    """
    from molgeo.chem.readers import check_sources
    from molgeo.tables import open_writer

    check_sources(inputs)
    run = PropertyRun(model, properties, conformers, batch_size, device)
    with open_writer(output, format, run.columns, inputs) as writer:
        for row in run.rows(inputs, strict):
            writer.write(row)
    return 3 if writer.n_failed else 0


class PropertyRun:
    """A model with its settings, ready for any number of inputs.

    Args:
        model: as in `predict`.
        properties: as in `predict`.
        conformers: as in `predict`.
        batch_size: as in `predict`.
        device: as in `predict`.

    Attributes:
        keys: what is predicted: names of properties, and of atomization energies.
        columns: of every row.
    """

    def __init__(
        self,
        model: str | Path | Predictor | None = None,
        properties: str | Sequence[str] | None = None,
        conformers: int = 1,
        batch_size: BatchSize = "auto",
        device: str = "auto",
    ) -> None:
        from molgeo.chem.molecule import InputError

        if conformers < 1:
            raise InputError(f"conformers must be at least 1, got {conformers}")
        if batch_size != "auto" and not (str(batch_size).isdecimal() and int(batch_size) > 0):
            raise InputError(f"batch_size must be 'auto' or at least 1, got {batch_size!r}")
        self.conformers = conformers
        self.batch_size = None if batch_size == "auto" else int(batch_size)
        self.predictor, self.device = _ready(model, device)
        self.keys = _select(self.predictor, _probe(self.predictor, self.device), properties)
        spread = [column(key) + CONFORMER_STD for key in self.keys] if conformers > 1 else []
        self.columns = [*ROW_COLUMNS, *map(column, self.keys), *spread]

    def rows(self, inputs: Any, strict: bool = False) -> Iterator[dict[str, Any]]:
        """Rows in the order of the inputs, which are read a window ahead.

        Args:
            inputs: as in `predict`.
            strict: stop at the first bad row.

        Yields:
            One value a column, None where there is none.

        Raises:
            InputError: an input that cannot be read, after the rows of those before it.
            RowError: a bad row, and ``strict``, after the rows before it.
        """
        from molgeo.chem.conformers import build
        from molgeo.chem.readers import check_sources, is_single, read_all

        if isinstance(inputs, list | tuple) or is_single(inputs):
            check_sources([inputs] if is_single(inputs) else inputs)
        built = build(read_all(inputs), self.conformers)
        start = 0
        for window in _windows(built, _WINDOW[self.device.type]):
            for index, row in enumerate(self._window(window), start):
                if strict and row["status"] == "error":
                    raise RowError(f"row {index} ({row['input']}): {row['message']}")
                yield {**row, "id": index}
            start += len(window)

    def _window(self, window: list[Built]) -> Iterator[dict[str, Any]]:
        """Predict all sound molecules of a window together."""
        reasons = [None if _is_bad(built) else self._reason(built) for built in window]
        sound = [k for k, built in enumerate(window) if not (_is_bad(built) or reasons[k])]
        todo = [molecule for k in sound for molecule in window[k]]  # type: ignore[union-attr]
        done = iter(self._values(todo))
        for k, built in enumerate(window):
            if _is_bad(built):
                yield self._row(built)
            elif reasons[k] is not None:
                yield self._row(built[0], reasons[k])
            else:
                results = [next(done) for _ in built]
                failed = next((result for result in results if isinstance(result, str)), None)
                yield self._row(built[0], failed, [] if failed else results)

    def _reason(self, molecules: list[Molecule]) -> str | None:
        """Why the model must not see a molecule."""
        from molgeo.chem.molecule import check_geometry

        domain = self.predictor.domain
        for molecule in molecules:
            reason = check_geometry(molecule)
            if reason is None and domain is not None:
                reason = domain.check(molecule.z, molecule.pos, molecule.charge)
            if reason is not None:
                return reason
        return None

    def _values(self, molecules: list[Molecule]) -> list[Values | str]:
        """Each molecule's values, or why it has none."""
        values: list[Values | str] = [""] * len(molecules)
        by_size = sorted(range(len(molecules)), key=lambda k: molecules[k].n_atoms)
        for batch in self._batches(by_size, molecules):
            try:
                results = self._forward([molecules[k] for k in batch])
            except Exception:  # one of them is the culprit: the others must not suffer
                results = [{} for _ in batch]
            for k, result in zip(batch, results, strict=True):
                values[k] = result if self._is_sound(result) else self._alone(molecules[k])
        return values

    def _batches(self, order: list[int], molecules: list[Molecule]) -> Iterator[list[int]]:
        """Consecutive molecules of an order, as many as the bound on their pairs allows."""
        batch: list[int] = []
        pairs = 0
        for k in order:
            cost = molecules[k].n_atoms ** 2
            full = (
                pairs + cost > _PAIRS[self.device.type]
                if self.batch_size is None
                else len(batch) == self.batch_size
            )
            if batch and full:
                yield batch
                batch, pairs = [], 0
            batch.append(k)
            pairs += cost
        if batch:
            yield batch

    def _forward(self, molecules: list[Molecule]) -> list[Values]:
        """Run the model on one batch."""
        import numpy as np
        import torch

        z = torch.from_numpy(np.concatenate([m.z for m in molecules]))
        # Centred in float64: far from the origin a float32 has no digits left for bond lengths.
        pos = torch.from_numpy(np.concatenate([m.pos - m.pos.mean(axis=0) for m in molecules]))
        sizes = torch.tensor([m.n_atoms for m in molecules])
        batch = torch.repeat_interleave(torch.arange(len(molecules)), sizes)
        inputs = (z, pos.to(_dtype(self.predictor)), batch)
        with torch.no_grad():
            out = self.predictor(*(tensor.to(self.device) for tensor in inputs))
        table = torch.stack([out[key].double().cpu() for key in self.keys], dim=-1).tolist()
        return [dict(zip(self.keys, values, strict=True)) for values in table]

    def _is_sound(self, values: Values) -> bool:
        """Whether all properties are finite; an atomization energy may lack its free atoms."""
        known = set(self.predictor.properties)
        return bool(values) and all(math.isfinite(v) for k, v in values.items() if k in known)

    def _alone(self, molecule: Molecule) -> Values | str:
        """Run the model on one molecule that failed in its batch."""
        try:
            (values,) = self._forward([molecule])
        except Exception as error:
            return f"the model failed on this molecule: {_one_line(error)}"
        if self._is_sound(values):
            return values
        bad = [key for key in self.keys if not math.isfinite(values[key])]
        return f"the model gave no finite value of {', '.join(bad)}: check the geometry"

    def _row(
        self, source: Molecule | BadRow, reason: str | None = None, results: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """One row of output, without its id."""
        message = reason or getattr(source, "message", "")
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row.update(
            name=source.name,
            input=source.input,
            smiles=source.smiles or "",
            formula=source.formula,
            n_atoms=source.n_atoms,
            geometry=source.geometry,
            status="ok" if results else "error",
            message=" ".join(message.split()),
            model=self.predictor.name,
        )
        for key in self.keys if results else ():
            values = [result[key] for result in results]
            row[column(key)] = values[0] if math.isfinite(values[0]) else None
            if (
                self.conformers > 1
                and source.geometry != "given"
                and all(map(math.isfinite, values))
            ):
                row[column(key) + CONFORMER_STD] = statistics.pstdev(values)
        return row


def _is_bad(built: Built) -> TypeGuard[BadRow]:
    return not isinstance(built, list)


def _windows(items: Iterable[Built], size: int) -> Iterator[list[Built]]:
    """Lists of ``size`` items; what an error of the source cuts off comes before the error."""
    window: list[Built] = []
    failure: Exception | None = None
    source = iter(items)
    while failure is None:
        try:
            window.append(next(source))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        if len(window) == size:
            yield window
            window = []
    if window:
        yield window
    if failure is not None:
        raise failure


def _ready(model: str | Path | Predictor | None, device: str) -> tuple[Predictor, torch.device]:
    """The predictor in evaluation mode on its device; one that was given stays where it is."""
    import torch

    from molgeo import checkpoint
    from molgeo.chem.molecule import InputError

    given = isinstance(model, torch.nn.Module)
    predictor: Any = model if given else checkpoint.load(model)
    if device == "auto":
        tensor = next(predictor.parameters(), torch.empty(0))
        chosen = (
            tensor.device if given else torch.device("cuda" if torch.cuda.is_available() else "cpu")
        )
    else:
        try:
            chosen = torch.device(device)
        except RuntimeError:
            chosen = torch.device("meta")
        if chosen.type not in _WINDOW or (chosen.type == "cuda" and not torch.cuda.is_available()):
            reason = (
                "no CUDA device here" if chosen.type == "cuda" else "expected auto, cpu or cuda"
            )
            raise InputError(f"device {device!r} cannot be used: {reason}")
    return predictor.eval().to(chosen), chosen


def _dtype(predictor: Predictor) -> torch.dtype:
    """Floating-point type of the model's weights."""
    import torch

    return next((p.dtype for p in predictor.parameters()), torch.float32)


def _probe(predictor: Predictor, device: torch.device) -> list[str]:
    """What a predictor gives, in its order: its answer to a single atom."""
    import torch

    element = predictor.domain.elements[-1] if predictor.domain is not None else 6
    z = torch.tensor([element], device=device)
    pos = torch.zeros(1, 3, dtype=_dtype(predictor), device=device)
    with torch.no_grad():
        return list(predictor(z, pos, torch.zeros_like(z)))


def _select(
    predictor: Predictor, available: list[str], wanted: str | Sequence[str] | None
) -> list[str]:
    """The wanted keys, each once, or an error that names the nearest ones."""
    from molgeo.chem.molecule import InputError

    if wanted is None:
        return available
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    names = list(dict.fromkeys(name.strip() for name in names))
    for name in names:
        if name not in available:
            near = difflib.get_close_matches(name, available, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"{predictor.name} has no property {name!r}: {hint}it predicts {', '.join(available)}"
            )
    if not names:
        raise InputError(f"properties is empty: {predictor.name} predicts {', '.join(available)}")
    return names


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
