"""From any input to rows of properties, in constant memory and in the order of the input.

    read → build geometries → check → batch by size → model → rows

Rows are read in windows. Within a window molecules are sorted by size and packed into batches of
bounded cost; then they take their places again. Whatever is wrong with a row becomes a row with
``status = error`` and a message, and never touches its neighbours.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from molgeo.conformer_average import CONFORMERS
from molgeo.properties import ATOMIZATION, column, first_energy

if TYPE_CHECKING:
    from molgeo.calibration import Calibration
    from molgeo.chem.building import Built
    from molgeo.chem.molecule import BadRow, Molecule
    from molgeo.conformer_average import ConformerAverage
    from molgeo.inference import BatchPredictor, Values
    from molgeo.prediction.settings import PredictSettings

ROW_COLUMNS: Final = (
    "id",
    "name",
    "input",
    "smiles",
    "formula",
    "n_atoms",
    "geometry",
    "stereo",
    "status",
    "message",
    "model",
)
"""Columns of every output, before those of the properties."""

STD: Final = "_std"
"""Suffix of the columns with standard errors, of a calibrated model: `molgeo.calibration`."""

CONFORMER_COLUMNS: Final = ("_conformer_std", "_lowest", "_boltzmann")
"""Suffixes of the columns about conformers: `molgeo.conformer_average` says what they are."""

INTERVAL_COLUMNS: Final = ("_low90", "_high90")
"""Suffixes of the columns with the ends of an interval: `molgeo.calibration`."""

_WINDOW: Final = {"cpu": 512, "cuda": 4096}
"""Most rows that are held at once."""

_FIRST_WINDOW: Final = 32
"""Rows of the first window; each next one is twice as long, so that first results come soon."""


class RowError(ValueError):
    """The first bad row, where ``strict`` asks to stop at it."""


class PropertyRun:
    """A model with its settings, ready for any number of inputs.

    Args:
        settings: how molecules are read and predicted.

    Attributes:
        settings: as given.
        given: the model for given geometries.
        made: the model for geometries of a force field; often the same.
        keys: what is predicted: names of properties, and of atomization energies.
        suffixes: of the columns of each property.
        columns: of every row.

    Raises:
        InputError: a property or device that is not there.
    """

    def __init__(self, settings: PredictSettings) -> None:
        from molgeo.calibration import calibration_of
        from molgeo.checkpoint import DEFAULT_SMILES_MODEL
        from molgeo.inference import BatchPredictor

        self.settings = settings
        conformers, device, batch_size = settings.conformers, settings.device, settings.batch_size
        self.conformers = CONFORMERS if conformers is None else int(conformers)
        self.given = self.made = BatchPredictor(settings.model, device, batch_size)
        if settings.model is None:
            self.made = BatchPredictor(DEFAULT_SMILES_MODEL, device, batch_size)
        self.keys = _select(self.given, settings.properties)
        calibration = calibration_of(self.made.predictor.header, self.conformers)
        wanted = {key.removesuffix(ATOMIZATION) for key in self.keys}
        is_complete = calibration is not None and wanted <= calibration.scales.keys()
        self._calibration = calibration if is_complete else None
        suffixes = ["", *([STD] if self._calibration else [])]
        if conformers is not None and self.conformers > 1:
            suffixes += [*CONFORMER_COLUMNS, *(INTERVAL_COLUMNS if self._calibration else ())]
        self.suffixes = tuple(suffixes)
        # Conformers are weighted by their energies, whatever is asked for.
        self._energy = first_energy(self.made.predictor.properties)
        weighing = [self._energy] if self._energy else []
        for one in (self.given, self.made):
            one.keys = list(dict.fromkeys([*self.keys, *weighing]))
        of_keys = [column(key) + suffix for suffix in self.suffixes for key in self.keys]
        self.columns = [*ROW_COLUMNS, *of_keys]

    def rows(self, inputs: Any) -> Iterator[dict[str, Any]]:
        """Rows in the order of the inputs, which are read a window ahead.

        Args:
            inputs: as in `molgeo.predict`.

        Yields:
            One value a column, None where there is none.

        Raises:
            InputError: an input that cannot be read, after the rows of those before it.
            RowError: a bad row, and ``strict``, after the rows before it.
        """
        from molgeo.chem.building import build
        from molgeo.chem.readers import check_sources, is_single, read_all

        if isinstance(inputs, list | tuple) or is_single(inputs):
            check_sources([inputs] if is_single(inputs) else inputs)
        built = build(
            read_all(inputs),
            self.conformers,
            geometry=self.settings.geometry,
            refuse=self.made.refuses,
        )
        start = 0
        for window in _windows(built, _WINDOW.get(self.given.device.type, _WINDOW["cpu"])):
            for index, row in enumerate(self._window(window), start):
                if self.settings.strict and row["status"] == "error":
                    raise RowError(f"row {index} ({row['input']}): {row['message']}")
                yield {**row, "id": index}
            start += len(window)

    def _window(self, window: list[Built]) -> Iterator[dict[str, Any]]:
        """Predict all sound molecules of a window together."""
        rows: dict[int, dict[str, Any]] = {}
        sound: dict[BatchPredictor, dict[int, list[Molecule]]] = {self.given: {}, self.made: {}}
        for k, built in enumerate(window):
            if not isinstance(built, list):
                rows[k] = self._row(built, self.made if built.smiles else self.given)
                continue
            model = self.given if built[0].geometry == "given" else self.made
            reason = model.refusal(built)
            if reason is not None:
                rows[k] = self._row(built[0], model, reason)
            else:
                sound[model][k] = built
        for model, molecules in sound.items():
            for k, results in self._shared(model, molecules):
                failed = next((one for one in results if isinstance(one, str)), None)
                values = [one for one in results if not isinstance(one, str)]
                rows[k] = self._row(molecules[k][0], model, failed, [] if failed else values)
        yield from (rows[k] for k in range(len(window)))

    def _shared(
        self, model: BatchPredictor, molecules: dict[int, list[Molecule]]
    ) -> Iterator[tuple[int, list[Values | str]]]:
        """Place → values of its conformers, computed once for all places of the same molecule."""
        same: dict[str | int, list[int]] = {}
        for k, built in molecules.items():
            frame = built[0].frame
            same.setdefault(k if frame is None else frame.smiles, []).append(k)
        first = [molecules[places[0]] for places in same.values()]
        values = iter(model.values([one for built in first for one in built]))
        for built, places in zip(first, same.values(), strict=True):
            results = [next(values) for _ in built]
            yield from ((k, results) for k in places)

    def _row(
        self,
        source: Molecule | BadRow,
        model: BatchPredictor,
        reason: str | None = None,
        results: Sequence[Values] = (),
    ) -> dict[str, Any]:
        """One row of output, without its id."""
        message = reason or getattr(source, "message", None) or ""
        row: dict[str, Any] = dict.fromkeys(self.columns)
        row.update(
            name=source.name,
            input=source.input,
            smiles=source.smiles or "",
            formula=source.formula,
            n_atoms=source.n_atoms,
            geometry=source.geometry,
            stereo=getattr(source, "stereo", ""),
            status="ok" if results else "error",
            message=" ".join(message.split()),
            model=model.predictor.name,
        )
        if results:
            row.update(
                self._averages(results, of_conformers=not source.geometry.startswith("given"))
            )
        return row

    def _averages(self, results: Sequence[Values], of_conformers: bool) -> dict[str, float]:
        """The numbers of one row; an atomization energy may lack its free atoms."""
        import numpy as np

        from molgeo.conformer_average import conformer_average

        values = np.array([[result[key] for key in self.keys] for result in results])
        energies = np.array([result[self._energy] if self._energy else 0.0 for result in results])
        average = conformer_average(values, energies)
        numbers: dict[str, Any] = {"": average.value}
        if of_conformers:
            conformers = (average.std, average.lowest, average.boltzmann)
            numbers |= dict(zip(CONFORMER_COLUMNS, conformers, strict=True))
            if self._calibration is not None:
                numbers |= self._intervals(average, self._calibration)
        return {
            column(key) + suffix: float(number)
            for suffix in self.suffixes
            if suffix in numbers
            for key, number in zip(self.keys, numbers[suffix], strict=True)
            if math.isfinite(number)
        }

    def _intervals(
        self, average: ConformerAverage, calibration: Calibration
    ) -> dict[str, list[float]]:
        """Suffix → numbers of each key. An atomization energy is as uncertain as the total."""
        from molgeo.calibration import half_widths

        scales = [calibration.scales[key.removesuffix(ATOMIZATION)] for key in self.keys]
        halves = [half_widths(s, float(std)) for s, std in zip(scales, average.std, strict=True)]
        ends = list(zip(average.value.tolist(), halves, strict=True))
        low, high = INTERVAL_COLUMNS
        return {
            STD: [sigma for sigma, _ in halves],
            low: [value - interval for value, (_, interval) in ends],
            high: [value + interval for value, (_, interval) in ends],
        }


def _windows(items: Iterable[Built], most: int) -> Iterator[list[Built]]:
    """Growing lists of at most ``most``; what an error cuts off comes before the error."""
    size = min(_FIRST_WINDOW, most)
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
            window, size = [], min(2 * size, most)
    if window:
        yield window
    if failure is not None:
        raise failure


def _select(model: BatchPredictor, wanted: str | Sequence[str] | None) -> list[str]:
    """The wanted keys, each once, or an error that names the nearest ones."""
    from molgeo.chem.molecule import InputError

    if wanted is None:
        return model.available
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    by_column = {column(key): key for key in model.available}
    names = [by_column.get(name.strip(), name.strip()) for name in names]
    names = list(dict.fromkeys(names))
    known = f"{model.predictor.name} predicts {', '.join(model.available)}"
    if not names:
        raise InputError(f"properties is empty: {known}")
    for name in names:
        if name not in model.available:
            near = difflib.get_close_matches(name, [*model.available, *by_column], n=1)
            hint = f", did you mean {near[0]!r}?" if near else ":"
            raise InputError(f"unknown property {name!r}{hint} {known}")
    return names
