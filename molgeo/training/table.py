"""Training on values of one's own in a table: the kind of data ``table``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_serializer,
    model_validator,
)
from torch import Tensor

from molgeo import models
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.molecule import BadRow
from molgeo.data import location
from molgeo.data.datamodule import FlatDataModule
from molgeo.data.geometries import MAX_CONFORMERS, GeometrySet
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import Split, has_groups, split_groups
from molgeo.evaluation.calibrating import CALIBRATED, calibrations
from molgeo.evaluation.familiarity import add_familiarity
from molgeo.evaluation.properties import Sample, errors
from molgeo.generate.table import Source, Table, read_table, write_aside
from molgeo.prediction.conformer_average import CONFORMERS
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.properties import HeadKind, Property, check_properties, names_of, word_of
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.plain_text import one_line, say, shown
from molgeo.runtime.progress import Progress
from molgeo.runtime.validation import Amount, Number, ProperFraction, Settings
from molgeo.training.config import FilesConfig
from molgeo.training.table_geometries import described, geometries_of
from molgeo.training.task import COMMON_FIXED, Part, Task

SPLITS: Final = {"random": "seed {}", "scaffold": "by scaffold, seed {}"}
"""Ways to split that are no column → what a checkpoint says of them, with the seed."""


class Target(Settings):
    """One column of values.

    Attributes:
        column: its title in the files.
        unit: of the values; empty for numbers without one.
        head: ``mean`` for what does not grow with a molecule, ``orbital`` for what a part of it
            decides, ``sum`` for what grows; ``dipole``, ``extent``; ``moments`` for a measured
            value that is no sum over atoms, and ``kernel``, which `molgeo fit` makes.
        name: of the property; empty for the title in letters, digits and ``_``.
        description: one line for people.
        minimum: no value can be below it, and none that is predicted is; None for no such bound.
        maximum: likewise, above it.
        is_probability: the values are 0 and 1, and the model gives the probability of 1.
    """

    column: Annotated[str, Field(min_length=1)]
    unit: str = ""
    head: HeadKind = "mean"
    name: str = ""
    description: str = ""
    minimum: Number | None = None
    maximum: Number | None = None
    is_probability: bool = False

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, rest: Any) -> dict[str, Any]:
        """As runs were written when there were no bounds and no classes: they can be resumed."""
        return {
            name: value
            for name, value in rest(self).items()
            if value is not None and (name, value) != ("is_probability", False)
        }

    @field_validator("unit", mode="before")
    @classmethod
    def _unit_is_text(cls, unit: Any) -> Any:
        if not isinstance(unit, str):
            raise ValueError(
                f"expected text, such as eV, or '' for numbers without a unit; got {shown(unit)}"
            )
        return unit

    @property
    def property(self) -> Property:
        """What the model learns."""
        name = self.name or re.sub("_+", "_", word_of(self.column)).strip("_") or "value"
        return Property(
            name,
            self.unit,
            self.head,
            description=self.description,
            minimum=-math.inf if self.minimum is None else self.minimum,
            maximum=math.inf if self.maximum is None else self.maximum,
            is_probability=self.is_probability,
        )


def _target(given: Any) -> Any:
    if isinstance(given, dict):
        return Target(**given)
    return Target(column=given) if isinstance(given, str) else given


class TableConfig(FilesConfig):
    """A run on values in files of molecules, in any format that predictions take too.

    Attributes:
        targets: columns to learn, each as ``{column: logS, unit: log mol/L, head: mean}`` or its
            title alone.
        geometry: ``given`` in the files, or conformers made from the ``smiles``; ``auto`` takes
            the one that all rows have.
        conformers: made of each SMILES to train on.
        smiles_column: title of the column of SMILES; empty to find it.
        strip_salts: of a SMILES with several fragments take the largest one, neutralised.
        split: ``random``, rows of one molecule together; ``scaffold``, rows of one family of
            `molgeo.chem.scaffolds` together; or the title of a column that says ``train``,
            ``validation`` or ``test``.
        loss_weights: name of a property → weight in the loss; 1 if not given.
        data_dir: where conformers are kept, which are made once; empty for ``$MOLGEO_DATA``, a
            checkout's ``data/`` or the user's cache.
    """

    data: str = "table"
    targets: Annotated[list[Annotated[Target, BeforeValidator(_target)]], Field(min_length=1)]
    geometry: Source = "auto"
    conformers: Annotated[int, Field(ge=1, le=MAX_CONFORMERS)] = 1
    smiles_column: str = ""
    strip_salts: bool = False
    split: str = "random"
    loss_weights: dict[str, Amount] = Field(default_factory=dict)
    data_dir: str = ""
    validation_fraction: ProperFraction = 0.1
    test_fraction: ProperFraction = 0.1

    @model_validator(mode="after")
    def _targets_are_properties(self) -> TableConfig:
        check_properties(self.learned)
        for name in self.loss_weights.keys() - set(names_of(self.learned)):
            raise SettingError(
                f"loss_weights: expected some of {', '.join(names_of(self.learned))}, got "
                f"'{one_line(name, 60)}'"
            )
        return self

    @property
    def learned(self) -> tuple[Property, ...]:
        """One property per target."""
        return tuple(target.property for target in self.targets)

    def options(self) -> ReadOptions:
        """How the files are read."""
        return ReadOptions(smiles_column=self.smiles_column or None, strip_salts=self.strip_salts)


class TableDataModule(FlatDataModule):
    """Molecules with values from files.

    Args:
        config: of the run.
        first_step: steps that a resumed run has behind it.

    Attributes:
        table: what the files hold, once `setup` was called.
        geometries: conformers of its rows.
        rows: the parts, as rows of the table; ``parts`` has their conformers.
        aside: rows that cannot be used, with reasons.
        one_by_one: the rows are of too few molecules to have each in one part.
    """

    labels_may_be_missing = True
    table: Table
    geometries: GeometrySet
    rows: Split
    aside: list[BadRow]
    one_by_one: bool

    def __init__(self, config: TableConfig, first_step: int = 0) -> None:
        super().__init__(**config.batches(first_step))
        self.config = config
        self.folder = location.data_dir(config.data_dir) / "tables"

    def load(self) -> tuple[MoleculeSet, Split]:
        """Read, make conformers and split.

        Raises:
            InputError: a file cannot be read, or no row can be used.
            SettingError: the files have no such column.
        """
        c = self.config
        if any(target.head == "kernel" for target in c.targets):
            raise SettingError(
                "head: a kernel is not trained; `molgeo fit` makes models of kernels"
            )
        titles = [[target.column] for target in c.targets]
        column = "" if c.split in SPLITS else c.split
        kind = models.build(c.model, {**c.backbone, "n_out": None})
        self.table = read_table(
            c.data_file, titles, c.geometry, column, c.options(), takes_charge=kind.takes_charge
        )
        self._check_ranges()
        self.geometries, failed = geometries_of(self.table, c.learned, c.conformers, self.folder)
        self.aside = [*self.table.aside, *failed]
        exists = self.geometries.exists
        kept = np.flatnonzero(exists.numpy())
        if not len(kept):
            raise InputError(f"{c.set_name}: no row has a geometry: {failed[0].message}")
        is_by_scaffold = c.split == "scaffold"
        groups = self.table.families(kept) if is_by_scaffold else self.table.groups[kept]
        self.one_by_one = c.split == "random" and not has_groups(groups)
        split = split_groups(
            np.full_like(groups, -1) if self.one_by_one else groups,
            self.table.parts[kept],
            c.validation_fraction,
            c.test_fraction,
            c.split_seed,
            c.set_name,
            by_rows=is_by_scaffold,
        )
        self.rows = Split(*(torch.from_numpy(kept)[part] for part in split))
        for part in ("train", "validation"):
            known = np.isfinite(self.table.values[getattr(self.rows, part).numpy()]).any(0)
            for target, is_known in zip(c.targets, known, strict=True):
                if not is_known:
                    raise InputError(f"{c.set_name}: no {target.column} in the {part} part")
        parts = Split(*(self.geometries.all_of(rows) for rows in self.rows))
        return self.geometries.molecules, parts

    def _check_ranges(self) -> None:
        """Refuse values that cannot be, by the targets themselves."""
        for target, values in zip(self.config.targets, self.table.values.T, strict=True):
            one = target.property
            wrong = np.flatnonzero((values < one.minimum) | (values > one.maximum))
            if len(wrong):
                raise InputError(
                    f"{self.table.rows[wrong[0]].input}: {target.column}: expected a value from "
                    f"{one.minimum:g} to {one.maximum:g}, got {values[wrong[0]]:g}: mend it, or "
                    "the target's minimum and maximum"
                )


def table_sample(
    table: Table,
    learned: tuple[Property, ...],
    conformers: int,
    folder: Path,
    descriptors: Sequence[str] = (),
) -> Sample:
    """All rows of a table as molecules to compare a model with.

    Args:
        table: of molecules with values.
        learned: properties of its columns.
        conformers: of each SMILES.
        folder: where they are kept.
        descriptors: of the bonds, that the model takes.
    """
    most = max(conformers, CONFORMERS) if conformers > 1 else conformers
    found = described(geometries_of(table, learned, most, folder)[0], table, descriptors)
    rows = torch.arange(len(table.rows))
    return Sample(lambda n: (found, n), rows, learned, conformers, table.geometry == "smiles")


def errors_on_files(
    predictor: Predictor,
    files: list[str],
    conformers: int | None = None,
    limit: int = 0,
    data_dir: str = "",
    **options: Any,
) -> dict[str, Any]:
    """Errors of a model on all rows of files with its properties.

    Args:
        predictor: the model. A column is called as in the files of its training, as its property
            or as that in an output.
        files: in any format that predictions take.
        conformers: of each SMILES, 8 if None; none are made of rows with coordinates.
        limit: rows, from the first; 0 for all.
        data_dir: where conformers are kept, as in `TableConfig`.
        options: of `molgeo.evaluation.properties.errors`.
    """
    trained = _titles(predictor.header.training.get("targets"))
    learned = predictor.properties
    titles = [[trained.get(one.name, one.name), one.name, one.column] for one in learned]
    takes_charge = predictor.backbone.takes_charge
    table = read_table(
        files, titles, needs_all=False, wanted_by=predictor.name, takes_charge=takes_charge
    )
    table = table.of(torch.arange(len(table.rows))[: limit or None])
    _check_conformers(conformers, table)
    folder = location.data_dir(data_dir) / "tables"
    n = conformers or CONFORMERS
    sample = table_sample(table, learned, n, folder, predictor.descriptors)
    about = {"model": predictor.name, "data": ", ".join(files), "split": "all"}
    found = errors(predictor, sample, **options)
    return {**about, "geometry": table.geometry, "set_aside": len(table.aside), **found}


def _titles(targets: Any) -> dict[str, str]:
    """Name of a property → title of its column, of whatever a header says of targets."""
    found = {}
    for one in targets if isinstance(targets, list) else []:
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            target = Target(column=one["column"], name=one.get("name", ""))
            found[target.property.name] = target.column
    return found


class TableTask(Task):
    """Values of molecules in a table."""

    config_class = TableConfig
    config: TableConfig
    data: TableDataModule
    measured_by = ("conformers",)
    fixed = (
        *COMMON_FIXED,
        "data_file",
        "targets",
        "geometry",
        "conformers",
        "smiles_column",
        "strip_salts",
        "split",
        "split_seed",
        "validation_fraction",
        "test_fraction",
    )

    @classmethod
    def data_module(cls, config: TableConfig, first_step: int) -> TableDataModule:
        """The files' molecules."""
        return TableDataModule(config, first_step)

    def remarks(self, run_dir: Path) -> None:
        """Say how many rows are set aside, and write them with their reasons into a table."""
        if self.data.one_by_one:
            say(
                "the rows are of one or two molecules: they are split one by one, so the errors "
                "say nothing of other molecules"
            )
        if n := write_aside(self.data.aside, run_dir / "set_aside.csv"):
            total = len(self.data.table.rows) + len(self.data.table.aside)
            path = run_dir / "set_aside.csv"
            say(f"{n} of {total} rows are set aside, with reasons in {path}")

    def about(self) -> dict[str, Any]:
        """What the files say, and how they were split."""
        c, rows = self.config, self.data.rows
        sizes = "/".join(str(len(part)) for part in rows)
        is_given = self.data.table.geometry == "given"
        how = SPLITS.get(c.split, f"by column {c.split}").format(c.split_seed)
        how += ", rows one by one" if self.data.one_by_one else ""
        return {
            "data": c.set_name,
            "n_train": self.data.molecules.idx[self.data.parts.train].unique().numel(),
            "split": f"{sizes}, {how}",
            "level_of_theory": c.level_of_theory or "not stated",
            "geometry": self.data.table.geometry,
            "geometry_source": "given" if is_given else "MMFF94, from the SMILES",
            "trained_on_forces": False,
        }

    def errors(self, predictor: Predictor, part: Part = "test", **options: Any) -> dict[str, Any]:
        """Errors on a part of the table."""
        limit = options.pop("limit", 0)
        rows = getattr(self.data.rows, part)[: limit or None]
        given = options.pop("conformers", None)
        _check_conformers(given, self.data.table)
        conformers = given or self.config.conformers
        sample = self._sample(rows, conformers)
        about = {"model": predictor.name, "data": self.config.set_name, "split": part}
        geometry = {"geometry": self.data.table.geometry}
        return {**about, **geometry, **errors(predictor, sample, **options)}

    def _sample(self, rows: Tensor, conformers: int) -> Sample:
        """Rows of the table, with so many conformers of each."""
        data = self.data
        if conformers <= data.geometries.conformers:
            is_made = data.table.geometry == "smiles"
            own = data.geometries
            return Sample(lambda n: (own, n), rows, self.config.learned, conformers, is_made)
        return table_sample(data.table.of(rows), self.config.learned, conformers, data.folder)

    def calibrations(
        self,
        predictor: Predictor,
        limit: int = 0,
        progress: Progress | None = None,
        beyond: Mapping[int, Sample] | None = None,
    ) -> list[Calibration]:
        """On validation molecules: from SMILES for several numbers of conformers, or as given."""
        rows = self.data.rows.validation[: limit or None]
        numbers = (0,) if self.data.table.geometry == "given" else CALIBRATED
        samples = {n: self._sample(rows, max(n, 1)) for n in numbers}
        if predictor.familiarity is None and rows.numel():
            train = self._sample(self.data.rows.train, 1)
            add_familiarity(predictor, train, samples[max(numbers)])
        return calibrations(predictor, samples, progress, beyond)

    def calibrated_errors(
        self, predictor: Predictor, limit: int = 0, progress: Progress | None = None
    ) -> dict[str, Any]:
        """On test molecules, with as many conformers as predictions make."""
        options = {"limit": limit, "progress": progress}
        conformers = CONFORMERS if self.data.table.geometry == "smiles" else None
        return self.errors(predictor, "test", conformers=conformers, **options)


def _check_conformers(conformers: int | None, table: Table) -> None:
    """Refuse a number of conformers that is none, or for rows of which none are made."""
    if conformers is not None and table.geometry == "given":
        raise SettingError("conformers: the rows have coordinates, so none are made; leave it out")
    if conformers is not None and not 1 <= conformers <= MAX_CONFORMERS:
        raise SettingError(f"conformers: expected 1 to {MAX_CONFORMERS}, got {conformers}")
