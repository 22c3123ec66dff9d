"""From any input to rows of properties, in constant memory and in the order of the input.

    read → build geometries → check → batch by size → model → rows

Rows are read in windows. Within a window molecules are sorted by size and packed into batches of
bounded cost; then they take their places again. Whatever is wrong with a row becomes a row with
``status = error`` and a message, and never touches its neighbours.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from molgeo.prediction.averages import averages, once
from molgeo.prediction.conformer_average import Numbers
from molgeo.prediction.given import GIVEN, is_distorted
from molgeo.prediction.rows import (
    BETWEEN,
    ROW_COLUMNS,
    STRIPPED,
    SUFFIXES,
    Answer,
    Done,
    Result,
    Row,
    key,
    mark,
    output_name,
)
from molgeo.properties import Property, first_energy
from molgeo.runtime.errors import InputError
from molgeo.runtime.version import VERSION

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.molecule import Molecule
    from molgeo.chem.molecule import Row as Source
    from molgeo.prediction.batches import BatchPredictor
    from molgeo.prediction.layout import Layout
    from molgeo.prediction.settings import PredictSettings
    from molgeo.predictor.calibration import Calibration

_WINDOW: Final = {"cpu": 256, "cuda": 4096}
"""Most rows that are held at once."""

_FIRST_WINDOW: Final = 32
"""Rows of the first window; each next one is twice as long, so that first results come soon."""

_REMEMBERED: Final = 20_000
"""Molecules whose answers are kept, so that they are not predicted again."""


class RowError(InputError):
    """The first row that is bad or outside the domain, if ``strict`` asks to stop at it."""


class PropertyRun:
    """A model with its settings, ready for any number of inputs.

    Args:
        settings: how molecules are read and predicted.
        say: is called with one line about each table: which columns were taken.

    Attributes:
        settings: as given.
        models: which model predicts which rows.
        outputs: what is predicted, by its column: properties and atomization energies.
        number_columns: columns of their numbers.
        columns: of every row.
        late: columns of inputs that came after `fix_columns` and are left out → where they came.

    Raises:
        InputError: a property or device that is not there.
    """

    def __init__(self, settings: PredictSettings, say: Callable[[str], None] | None = None) -> None:
        from molgeo.prediction.batches import ChosenModels

        self.settings = settings
        self._read_options = settings.read_options(say)
        self.models = ChosenModels(settings)
        self._n_conformers = self.models.n_conformers
        wanted = _select(self.models.given, settings.properties)
        self.outputs = {one.column: one for one in wanted}
        self._keys = [one.name for one in wanted]
        self._measured = {(one.total or one).name for one in wanted}
        given, made, engine = self.models.given, self.models.of_smiles, self.models.engine
        of_smiles = "" if engine is None else f"+{engine.name}"
        errors = (self._errors(given, GIVEN), self._errors(made, of_smiles))
        of_conformers = settings.conformers is not None and self._n_conformers > 1
        # Who has a model of a few values of their own wants their intervals.
        intervals = of_conformers or given.header.training.get("data") == "table"
        self._numbers = Numbers(wanted, errors != (None, None), of_conformers, intervals)
        # Conformers are weighted by their energies, whatever is asked for.
        energy = first_energy(made.outputs.values())
        self._energy = energy.name if energy else None
        weighing = [self._energy] if self._energy else []
        for one in self.models.all:
            one.keys = list(dict.fromkeys([*self._keys, *weighing]))
        self.number_columns = self._numbers.columns
        self.columns = [
            *ROW_COLUMNS,
            *self.number_columns,
            *([STRIPPED] if settings.strip_salts else []),
        ]
        if twice := sorted({one for one in self.columns if self.columns.count(one) > 1}):
            raise InputError(
                f"{given.name} predicts a property whose column, {', '.join(twice)}, the "
                "output has already; choose others with --properties"
            )
        self.late: dict[str, str] = {}
        self._own = tuple(self.columns)
        self._kept: dict[str, str] = {}
        self._is_fixed = False
        self._known: dict[str, Answer] = {}

    def fix_columns(self, inputs: Sequence[Any]) -> None:
        """Add what comes along from inputs to the columns: a file's header is written once.

        Args:
            inputs: as in `molgeo.predict`; files and standard input are looked into.

        Raises:
            InputError: as in `rows`.
        """
        from molgeo.chem.files.readers import kept_columns

        names = map(self._kept_name, kept_columns(inputs, self._read_options))
        self.columns = list(dict.fromkeys([*self.columns, *names]))
        self._is_fixed = True

    def rows(self, inputs: Any) -> Iterator[Row]:
        """Rows in the order of the inputs, which are read a window ahead.

        Args:
            inputs: as in `molgeo.predict`.

        Yields:
            One value per column, None if there is none, and what comes along from the input.

        Raises:
            InputError: an input that cannot be read, after the rows of those before it.
            RowError: a row that is bad or outside the domain, and ``strict``; after those before.
        """
        for window in self.windows(inputs):
            for result in window:
                yield result.row

    def windows(
        self,
        inputs: Any,
        done: Iterable[Done] = (),
        ready: Callable[[], None] = lambda: None,
    ) -> Iterator[list[Result]]:
        """As `rows`, but in windows, and with all that is known of each row.

        Where windows end depends on the number of rows alone, and so does what is predicted
        together: a run that goes on after some windows gives what it would have given.

        Args:
            inputs: as in `molgeo.predict`.
            done: rows at the start that are there from an earlier run, whole windows of them: they
                are read and compared, not predicted.
            ready: called as each row has its coordinates, which takes most of the time.

        Yields:
            Results of the rows after those.

        Raises:
            InputError: as in `rows`; or a row is not the one that was done.
            RowError: as in `rows`.
        """
        from molgeo.chem.building import build
        from molgeo.chem.conformers.conformers import TRIALS
        from molgeo.chem.files.readers import check_sources, is_single, read_all
        from molgeo.chem.limits import Limits

        if isinstance(inputs, list | tuple) or is_single(inputs):
            check_sources([inputs] if is_single(inputs) else inputs, self._read_options)
        own = self.settings
        limits = Limits(own.max_atoms, own.max_seconds, own.max_memory)
        source = iter(read_all(inputs, self._read_options))
        if self.settings.enumerate_stereo:
            from molgeo.chem.conformers.enumeration import with_isomers

            source = with_isomers(source, limits.atoms)
        start = self._passed(source, done)
        # A row of the input becomes one row of output, so that marks and results stay in step.
        marks: deque[str] = deque()
        built = build(
            _marked(source, marks),
            self._n_conformers,
            geometry=self.settings.geometry,
            refuse=self.models.composition_refusal,
            limits=limits,
            trials=1 if own.fast else TRIALS,
        )
        most = _WINDOW.get(self.models.given.device.type, _WINDOW["cpu"])
        for window in _windows(_told(built, ready), most, start):
            results = [
                replace(result, row={**result.row, "id": start + k}, mark=marks.popleft())
                for k, result in enumerate(self._window(window))
            ]
            unsure = (k for k, one in enumerate(results) if not one.row["in_domain"])
            first = next(unsure, None) if self.settings.strict else None
            yield results[:first]
            if first is not None:
                row = results[first].row
                reason = row["message"] or f"outside the domain of {row['model']}: " + str(
                    row["domain_reason"]
                )
                raise RowError(f"row {row['id']} ({row['input']}): {reason}")
            start += len(window)

    def layout(self, raw: bool = False) -> Layout:
        """What rows are written as.

        Args:
            raw: as in `Layout`.
        """
        from molgeo.prediction.layout import Digits, Layout

        headers = {one.name: one.header for one in self.models.all}
        digits = Digits(self.outputs.values(), headers)
        return Layout(self.columns, self.outputs, digits, raw)

    def provenance(self) -> dict[str, Any]:
        """Where numbers come from: plain JSON values."""
        about = {
            one.name: {
                "name": one.name,
                "sha256": one.sha256,
                "level_of_theory": one.header.level_of_theory,
            }
            for one in self.models.all
        }
        units = {
            column: one.unit
            for name, one in self.outputs.items()
            for column in self.number_columns
            if column.startswith(name) and column[len(name) :] in SUFFIXES
        }
        return {"molgeo": VERSION, "models": list(about.values()), "units": units}

    def _passed(self, source: Iterator[Source], done: Iterable[Done]) -> int:
        """Read the rows that are done, and remember what may come again; how many they were."""
        n = 0
        for n, was in enumerate(done, 1):
            row = next(source, None)
            if row is None or mark(row) != was.mark:
                raise InputError(
                    f"row {n - 1} of the input is not the one that was predicted before: the input "
                    "has changed, start anew (--force)"
                )
            self._remember(was.key, was.answer)
        return n

    def _remember(self, key: str, answer: Answer | str | None) -> None:
        """Keep an answer for molecules that come again; the oldest is forgotten for it."""
        if not key or key in self._known or not isinstance(answer, Answer):
            return
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = answer

    def _window(self, window: list[Built]) -> list[Result]:
        """Predict all sound molecules of a window together, equal ones once."""
        keys = [key(built) for built in window]
        window = self.models.weighed(window)
        cheap = dict(enumerate(window))
        window, models, reasons = self.models.checked(window)
        answers: dict[int, Answer | str] = {}
        sound: dict[BatchPredictor, dict[int, list[Molecule]]] = {one: {} for one in models}
        first: dict[str, int] = {}
        for k, built in enumerate(window):
            if not isinstance(built, list):
                answers[k] = built.message
            elif (reason := reasons[k]) is not None:
                answers[k] = reason
            elif keys[k] in self._known:
                answers[k] = self._known[keys[k]]
            elif not keys[k] or first.setdefault(keys[k], k) == k:
                sound[models[k]][k] = built
        for model, molecules in sound.items():
            answers |= self._predicted(model, molecules, cheap) if molecules else {}
        all_answers = [answers[k if k in answers else first[keys[k]]] for k in range(len(window))]
        for own, answer in zip(keys, all_answers, strict=True):
            self._remember(own, answer)
        return list(map(self._result, window, models, all_answers, keys))

    def _predicted(
        self,
        model: BatchPredictor,
        molecules: dict[int, list[Molecule]],
        cheap: Mapping[int, Built],
    ) -> dict[int, Answer | str]:
        """What the model says of molecules, each with its conformers; or why it says nothing.

        Args:
            model: that knows them.
            molecules: row → its conformers.
            cheap: row → the conformers as they were made.
        """
        known = {k: self._errors(model, one[0].geometry) for k, one in molecules.items()}
        wanted = self._keys, self._energy
        found = averages(model, molecules, *wanted)
        partnered = {
            k: once(made)
            for k, errors in known.items()
            if errors and errors.partner and isinstance(made := cheap[k], list)
        }
        others = averages(self.models.made, partnered, *wanted, True) if partnered else {}
        answers: dict[int, Answer | str] = {}
        unknown: dict[int, list[Molecule]] = {}
        for k, conformers in molecules.items():
            own, errors = found[k], known[k]
            if isinstance(own, str):
                answers[k] = own
                continue
            average, energies = own
            far = None if average.signals is None else average.signals.tolist()
            reasons = model.reasons(conformers[0], far)
            unlike = bool(reasons) or model.is_larger(far)
            if errors and isinstance(other := others.get(k), tuple):
                average = average.mixed(other[0], self._numbers.mixing(errors))
            of_several = len(conformers) > 1 or not conformers[0].geometry.startswith(GIVEN)
            numbers = self._numbers.of(average, of_several, errors, unlike)
            answers[k] = Answer(model.name, numbers, energies, reasons)
            # Off the minima the models that take over fail worst.
            if model.is_far(far) and not is_distorted(conformers[0].geometry):
                unknown[k] = conformers
        outside = self.models.outside
        if outside in (None, model) or not unknown:
            return answers
        taken_over = self._predicted(outside, unknown, cheap).items()
        return answers | {k: one for k, one in taken_over if isinstance(one, Answer)}

    def _errors(self, model: BatchPredictor, geometry: str) -> Calibration | None:
        """What is known of the errors of a model's values."""
        return self.models.errors(model, geometry, self._measured)

    def _result(
        self, built: Built, model: BatchPredictor, answer: Answer | str, key: str
    ) -> Result:
        """One row of output, without its id."""
        source = built[0] if isinstance(built, list) else built
        row: Row = dict.fromkeys(self.columns)
        for name in ("name", "input", "formula", "n_atoms", "geometry"):
            row[name] = getattr(source, name)
        row.update(smiles=source.smiles or "", stereo=getattr(source, "stereo", ""))
        if isinstance(answer, Answer):
            model = next(one for one in self.models.all if one.name == answer.model)
        row.update(status="ok", message="", domain_reason="", model=model.name)
        row.update(model_sha256=model.sha256, level_of_theory=model.header.level_of_theory)
        if self.settings.strip_salts:
            row[STRIPPED] = source.stripped
        for name, value in source.extra.items():
            kept = self._kept_name(name)
            if self._is_fixed and kept not in row:
                self.late.setdefault(kept, source.input)
            else:
                row[kept] = value
        if isinstance(answer, str):
            row.update(status="error", message=" ".join(answer.split()))
            return Result(row)
        row.update(in_domain=not answer.reasons, domain_reason=BETWEEN.join(answer.reasons))
        row.update(answer.numbers)
        return Result(row, list(built) if isinstance(built, list) else [], answer.energies, key)

    def _kept_name(self, name: str) -> str:
        """The name in the output of a column or field that comes along from an input."""
        if name not in self._kept:
            self._kept[name] = output_name(name, self._own)
        return self._kept[name]


def _told(built: Iterable[Built], ready: Callable[[], None]) -> Iterator[Built]:
    """Rows as they come; each is told of."""
    for one in built:
        ready()
        yield one


def _marked(source: Iterable[Source], marks: deque[str]) -> Iterator[Source]:
    """Rows as they come; their marks are put aside."""
    for row in source:
        marks.append(mark(row))
        yield row


def _windows(items: Iterable[Built], most: int, done: int = 0) -> Iterator[list[Built]]:
    """Growing lists of at most ``most``; what an error cuts off comes before the error.

    Args:
        items: rows that are left.
        most: rows of the largest window.
        done: rows of the windows before.
    """
    size = min(_FIRST_WINDOW, most)
    while done >= size:
        done, size = done - size, min(2 * size, most)
    source = iter(items)
    while True:
        window: list[Built] = []
        failure: Exception | None = None
        try:
            for one in islice(source, size):
                window.append(one)  # noqa: PERF402  # what came before an error stays
        except Exception as error:
            failure = error
        if window:
            yield window
        if failure is not None:
            raise failure
        if len(window) < size:
            return
        size = min(2 * size, most)


def _select(model: BatchPredictor, wanted: str | Sequence[str] | None) -> list[Property]:
    """The wanted outputs of a model, each once, or an error that names the nearest ones."""
    outputs = model.outputs
    if wanted is None:
        return list(outputs.values())
    names = wanted.split(",") if isinstance(wanted, str) else wanted
    by_column = {one.column: key for key, one in outputs.items()}
    names = [by_column.get(name.strip(), name.strip()) for name in names]
    names = list(dict.fromkeys(names))
    known = f"{model.name} predicts {', '.join(outputs)}"
    if not names:
        raise InputError(f"properties is empty: {known}")
    for name in names:
        if name not in outputs:
            near = difflib.get_close_matches(name, [*outputs, *by_column], n=1)
            hint = f", did you mean {near[0]!r}?" if near else ":"
            raise InputError(f"unknown property {name!r}{hint} {known}")
    return [outputs[name] for name in names]
