"""From a table of any kind to molecules with values, conformers and folds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import is_single, read_all
from molgeo.chem.molecule import BadRow, Molecule, Row
from molgeo.data import location
from molgeo.elements import SYMBOLS
from molgeo.fitting.charges import may_be_dipoles
from molgeo.fitting.columns import Column, read_columns
from molgeo.fitting.duplicates import averaged
from molgeo.fitting.features import Features, features_of
from molgeo.fitting.folds import Folds, folds_of
from molgeo.fitting.members import Data
from molgeo.fitting.recipe import FEWEST, FOR_DIPOLES, FRESH, KERNEL, START, Recipe, recipe_for
from molgeo.fitting.settings import FitSettings
from molgeo.generate.table import read_table
from molgeo.models import model_class
from molgeo.prediction.summary import reason
from molgeo.predictor.checkpoint import read_header
from molgeo.predictor.kernel import MOST_ROWS
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.plain_text import one_line, say
from molgeo.training.naming import data_name
from molgeo.training.table import TableConfig, Target
from molgeo.training.table_geometries import geometries_of

FEWEST_OF_CLASS: Final = 10
"""Molecules of a class below which nothing could be said of it: two in a fold."""

REASONS: Final = 3
"""Kinds of them that are told of rows that are set aside."""

LEAST_LEARNED: Final = 10
"""Values that a member of a fit learns from."""

ALL: Final = frozenset(["all_blocks"])
"""Fields of a backbone that are set if it has them."""


class Given(NamedTuple):
    """A table as it was given.

    Attributes:
        name: of the table, for files.
        source: what messages call it.
        rows: with numbers in the columns of values.
        columns: of values.
        digest: tells its rows from those of another table.
        remarks: on the columns, which were said.
    """

    name: str
    source: str
    rows: list[Row]
    columns: list[Column]
    digest: str
    remarks: list[str]


def given(table: Any, settings: FitSettings) -> Given:
    """Read a table, and look at its columns.

    Args:
        table: as of `molgeo.fit`.
        settings: of the fit.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read.
        SettingError: a column is not there or cannot be learned.
    """
    strip, smiles = settings.strip_salts, settings.smiles
    options = ReadOptions(
        smiles_column=smiles,
        smiles_option="smiles",
        strip_salts=strip,
        keep_columns=True,
        say=say,
    )
    is_file = isinstance(table, str | Path)
    if is_file and not Path(table).is_file():
        what = "is a folder" if Path(table).is_dir() else "does not exist"
        raise FileNotFoundError(f"{table} {what}; expected a file of molecules")
    sources = [Path(table)] if is_file else [table] if is_single(table) else list(table)
    rows = list(read_all(sources, options))
    if not rows:
        raise InputError("the table is empty: it has no molecules")
    bad = [row.message for row in rows if isinstance(row, BadRow)]
    if len(bad) == len(rows):
        raise InputError(f"no row can be used; the first: {one_line(bad[0], 200)}")
    name, source = (
        (data_name([str(table)]), Path(table).name) if is_file else ("table", "the table")
    )
    asked = settings.titles, settings.units, settings.kind
    columns, rows, remarks = read_columns(rows, *asked, source)
    for remark in remarks:
        say(remark)
    total = hashlib.sha256()
    for row in rows:
        values = [row.extra.get(one.title) for one in columns]
        total.update(f"{row.smiles} {values}".encode())
        if isinstance(row, Molecule):
            total.update(row.z.tobytes() + row.pos.tobytes())
    return Given(name, source, rows, columns, total.hexdigest(), remarks)


@dataclass(frozen=True)
class Prepared:
    """All that members are trained from.

    Attributes:
        base: the config that they share.
        recipe: of the fit.
        data: rows, conformers and folds.
        features: what the bonds of the rows say.
        columns: of values.
        remarks: on the table, which were said.
        descriptors: that kernels take beside coordinates; None if no kernel can be fitted.
    """

    base: TableConfig
    recipe: Recipe
    data: Data
    features: Features
    columns: Sequence[Column]
    remarks: tuple[str, ...] = ()
    descriptors: tuple[str, ...] | None = None

    def of_kernels(self) -> Prepared:
        """The same with molecules that have the descriptors."""
        if not self.descriptors:
            return self
        values = torch.from_numpy(self.features.columns)
        geometries = self.data.geometries.with_descriptors(values)
        return replace(self, data=replace(self.data, geometries=geometries))


def prepared(found: Given, settings: FitSettings) -> Prepared:
    """Make conformers of the rows that can be used, and divide these into folds.

    Args:
        found: the table.
        settings: of the fit.

    Raises:
        InputError: too few rows can be used.
        SettingError: settings that do not fit the table.
    """
    columns = found.columns
    if len({bool(one.classes) for one in columns}) > 1:
        raise SettingError(
            "target: numbers and classes are learned by models of their own: fit "
            f"{', '.join(one.title for one in columns if one.classes)} apart"
        )
    split = "" if settings.split in ("scaffold", "random") else settings.split
    if split in [one.title for one in columns]:
        raise SettingError(f"split: {split!r} is a target; expected a column of train and test")
    titles = [[one.title] for one in columns]
    table = read_table(
        found.rows, titles, settings.geometry, split, takes_charge=True, source=found.source
    )
    table, remarks = averaged(table, columns)
    for remark in remarks:
        say(remark)
    remarks = [*found.remarks, *remarks]
    _check_enough(table.values, columns, table.aside)
    if settings.pooling == "dipole" and not np.nanmin(table.values) >= 0:
        raise SettingError(
            "pooling: dipole is the length of a vector, and some values are negative"
        )
    n = round(len(table.rows) * (1 - settings.test_fraction))
    labels = zip(columns, table.values.T, strict=True)
    # Only kernels know what to make of dipoles, and take no time for more conformers.
    polar = _may_be_kernels(columns, n, settings) and any(
        may_be_dipoles(one.unit, values) for one, values in labels
    )
    recipe = _recipe(n, settings, polar)
    base = _base(found, recipe, n, settings)
    store = location.data_dir(base.data_dir) / "tables"
    geometries, failed = geometries_of(table, base.learned, recipe.conformers, store)
    table = replace(table, aside=[*table.aside, *failed])
    kept = np.flatnonzero(geometries.exists.numpy())
    _check_enough(table.values[kept], columns, table.aside)
    asked = settings.split, settings.test_fraction, recipe.folds, settings.seed
    folds = folds_of(table.of(kept), *asked).among(kept, len(table.rows))
    _check_folds(table.values, folds, columns)
    features = features_of(table.rows, kept, np.flatnonzero(folds.fold >= 0))
    data = Data(table, geometries, folds)
    taken = _descriptors(data, features.names, columns, settings)
    if split == "" and not data.folds.by_scaffold:
        base = base.model_copy(update={"split": "random"})
    for remark in (of_rows := _of_rows(found, data, base, settings.strip_salts)):
        say(remark)
    return Prepared(base, recipe, data, features, columns, (*remarks, *of_rows), taken)


def _descriptors(
    data: Data, names: tuple[str, ...], columns: Sequence[Column], settings: FitSettings
) -> tuple[str, ...] | None:
    """Descriptors that kernels take; None if no kernel can be fitted.

    Args:
        data: of the fit. Of given coordinates nobody may know the bonds.
        names: of all descriptors.
        columns: of values.
        settings: of the fit.

    Raises:
        SettingError: a kernel is asked for, and cannot be fitted.
    """
    has_classes, n = any(one.classes for one in columns), int((data.folds.fold >= 0).sum())
    if settings.pooling == KERNEL and (has_classes or n > MOST_ROWS):
        what = "classes" if has_classes else f"{n:,} molecules"
        raise SettingError(
            f"pooling: a kernel takes numbers of at most {MOST_ROWS:,} molecules, got {what}; "
            "choose moments"
        )
    if not _may_be_kernels(columns, n, settings):
        return None
    return () if settings.coordinates_alone or data.table.geometry == "given" else names


def _may_be_kernels(columns: Sequence[Column], n: int, settings: FitSettings) -> bool:
    """Whether kernels can be fitted, by the settings and the number of molecules to learn from."""
    is_asked = settings.pooling in ("auto", KERNEL) and not (
        settings.from_scratch or settings.epochs
    )
    return is_asked and n <= MOST_ROWS and not any(one.classes for one in columns)


def _check_folds(values: Any, folds: Folds, columns: Sequence[Column]) -> None:
    """Refuse values of which nearly all are in one fold: a model without it would know nothing."""
    for k, one in enumerate(columns):
        known = np.isfinite(values[:, k]) & (folds.fold >= 0)
        n, most = int(known.sum()), int(np.bincount(folds.fold[known]).max(initial=0))
        if n - most < LEAST_LEARNED:
            raise InputError(
                f"{one.title}: {most} of its {n} values are in one fold of the rows, so that a "
                f"model without that fold has {n - most} to learn from; expected "
                f"{LEAST_LEARNED} at least: choose --split random, or fit the column alone"
            )


def _check_enough(values: Any, columns: Sequence[Column], aside: Sequence[BadRow]) -> None:
    """Refuse too few molecules to learn from."""
    for k, one in enumerate(columns):
        known = values[np.isfinite(values[:, k]), k]
        if one.classes and len(known) >= FEWEST:
            counts = [int((known == number).sum()) for number in range(2)]
            if min(counts) < FEWEST_OF_CLASS:
                rare = one.classes[int(np.argmin(counts))]
                raise InputError(
                    f"{one.title}: expected at least {FEWEST_OF_CLASS} molecules of each class, "
                    f"got {min(counts)} of {rare!r}"
                )
        if len(known) >= FEWEST:
            continue
        mean = (
            f"the mean of their values, {known.mean():.4g} {one.unit}".rstrip()
            if len(known)
            else ""
        )
        others = f", {len(aside)} rows being set aside ({_reasons(aside)})" if aside else ""
        raise InputError(
            f"{one.title}: expected at least {FEWEST} molecules with a value, got {len(known)}"
            f"{others}: a model of so few would not hold for others"
            + (f"; {mean}, is the better guess" if mean else "")
        )


def _recipe(n: int, settings: FitSettings, polar: bool) -> Recipe:
    """What the rows suggest and the user asks for."""
    recipe = recipe_for(n, settings.from_scratch)
    recipe = replace(recipe, conformers=FOR_DIPOLES) if polar else recipe
    names = ("members", "folds", "conformers", "epochs")
    asked = {name: getattr(settings, name) for name in names}
    if asked["folds"] and not asked["members"]:
        asked["members"] = min(asked["folds"], 16)
    recipe = replace(recipe, **{name: value for name, value in asked.items() if value is not None})
    if recipe.members > recipe.folds:
        recipe = replace(recipe, folds=recipe.members) if not asked["folds"] else recipe
    if not recipe.members <= min(recipe.folds, 16):
        raise SettingError(
            f"members: expected at most one per fold and 16, got {recipe.members} of "
            f"{recipe.folds} folds"
        )
    return recipe


def _base(found: Given, recipe: Recipe, n: int, settings: FitSettings) -> TableConfig:
    """The config that members share, pooling yet undecided."""
    head: Any = "mean" if settings.pooling == "auto" else settings.pooling
    targets = [
        Target(
            column=one.title,
            unit=one.unit,
            head=head,
            name=Target(column=one.name).property.name,
            is_probability=bool(one.classes),
            minimum=0.0 if head == "dipole" else None,
            description=f"probability of {one.classes[1]}"[:200] if one.classes else "",
        )
        for one in found.columns
    ]
    n_train = max(1, round(n * (1 - 1 / recipe.folds)))
    keys = recipe.run(n_train)
    if settings.from_scratch:
        keys |= {**FRESH, "heads_first": 0}
    else:
        start = settings.start_from or START
        there = read_header(start).config
        grows = ALL & set(model_class(there.model, trusted=False).grows_by)
        keys |= {"start_from": start, "backbone": dict.fromkeys(grows, True)}
        keys |= {"model": there.model} if grows else {}
    kind: Any = settings.device.partition(":")[0]
    return TableConfig(
        data_file=[found.source],
        data_name=found.name,
        targets=targets,
        conformers=recipe.conformers,
        split=settings.split,
        seed=settings.seed,
        threads=settings.threads,
        accelerator={"cuda": "gpu"}.get(kind, kind),
        **keys,
    )


def _of_rows(found: Given, data: Data, base: TableConfig, strip_salts: bool) -> list[str]:
    """How many rows are used for what, and which are not."""
    aside, folds = data.table.aside, data.folds
    n_used = int((folds.fold >= 0).sum())
    remarks = [
        f"{len(found.rows)} rows: {n_used} molecules to learn from in "
        f"{int(folds.fold.max()) + 1} folds, {len(folds.test)} to test on"
    ]
    if aside:
        are = "rows are" if len(aside) > 1 else "row is"
        remarks.append(f"{len(aside)} {are} set aside: {_reasons(aside)}")
    if not strip_salts and any("." in (row.smiles or "") for row in aside):
        remarks.append("of salts, --strip-salts takes the largest fragment")
    if not base.start_from:
        return remarks
    seen = set(read_header(base.start_from).domain.elements)
    here = set(data.geometries.molecules.z.unique().tolist())
    if new := sorted(here - seen):
        remarks.append(
            f"{base.start_from} has never seen {', '.join(SYMBOLS[z] for z in new)}: what it knows "
            "of these elements is learned from the table alone"
        )
    return remarks


def _reasons(aside: Sequence[BadRow]) -> str:
    """The most frequent kinds of reasons of rows that are set aside, with an example each."""
    kinds: dict[str, list[str]] = {}
    for row in aside:
        kinds.setdefault(reason(row.message), []).append(row.message)
    most = sorted(kinds.values(), key=len, reverse=True)
    listed = [
        (f"{len(own)}: " if len(most) > 1 else "")
        + one_line(own[0], 120)
        + ("" if len(set(own)) == 1 else ", and the like")
        for own in most[:REASONS]
    ]
    others = sum(map(len, most[REASONS:]))
    return "; ".join([*listed, *([f"{others} for other reasons"] if others else [])])
