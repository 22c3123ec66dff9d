"""From a table to a model with error bars: `fit` is the way through.

    table → rows → values → conformers → folds → pooling → members → their mean → bars → report

Each step is deterministic, and what takes long is kept in the folder as it comes: conformers and
the members' states. So a fit that was killed gives, when it is resumed, the model that it would
have given.
"""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from molgeo.evaluation.cards import markdown
from molgeo.fitting.bars import add_bars
from molgeo.fitting.kernel_members import NO_FOLD, kernel_members
from molgeo.fitting.members import Data, forget_states, train_members
from molgeo.fitting.outcome import FILES as OUTCOME_FILES
from molgeo.fitting.outcome import Outcome
from molgeo.fitting.pooling import CHOICES, TRIED, with_pooling
from molgeo.fitting.preparing import Given, Prepared, given, prepared
from molgeo.fitting.recipe import KERNEL
from molgeo.fitting.report.page import write_page
from molgeo.fitting.settings import FitSettings
from molgeo.fitting.telling import REPORT, facts_of, lines_of, outcome_of, tested
from molgeo.generate.table import write_aside
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import read_header, save_checkpoint
from molgeo.predictor.merging import Atoms, merged
from molgeo.runtime.device import choose
from molgeo.runtime.errors import SettingError, UserError
from molgeo.runtime.plain_text import shown
from molgeo.training.naming import check_free
from molgeo.training.references import domain_of
from molgeo.training.yaml_text import read_yaml, write_yaml

SETTINGS: Final = "fit.yaml"
"""File of a fit's settings, in its folder."""

MEMBERS: Final = "members"
"""Folder of the members' runs."""

OTHER: Final = "other_split"
"""Folder of members of the other split, among those of the model's members."""

HELD_BESIDE: Final = 2
"""Folds of the other split that are held out, if heads alone are fitted, which takes seconds; else
one."""

ASIDE: Final = "set_aside.csv"
UNFINISHED: Final = "unfinished.safetensors"


@dataclass(frozen=True)
class Fitted:
    """Where a fit lies, and what is to be said of it.

    Attributes:
        path: of the model.
        verdict: for people: whether the model is worth having, then its errors.
        options: of `molgeo predict` for molecules like those of the table, from its file on.
    """

    path: Path
    verdict: tuple[str, ...]
    options: str = "new.smi"

    @property
    def lines(self) -> list[str]:
        """The verdict, where the model lies, and how to predict with it."""
        path = self.path
        return [
            *self.verdict,
            f"model: {path}; report: {path.parent / REPORT}",
            f"molgeo predict {self.options} --model {shlex.quote(str(path))}",
        ]


def fit_table(table: Any, settings: FitSettings) -> Fitted:
    """Fit a model to values of molecules.

    Args:
        table: name of a file, DataFrame, or an iterable of anything that `molgeo.predict` takes,
            with the values: columns, fields, ``info``, attributes of PyG's ``Data``.
        settings: how.

    Returns:
        Where it lies.

    Raises:
        InputError: the table cannot be read, or has too few rows that can be used.
        SettingError: a column that is not there or cannot be learned, or settings that a fit that
            is resumed did not have.
        FileExistsError: the folder holds a fit already.
        FileNotFoundError: there is no such table, or nothing to resume.
    """
    choose(settings.device)  # one that is not there is said at once
    if settings.threads:
        torch.set_num_threads(settings.threads)
    found = given(table, settings)
    folder = settings.folder(found.name)
    _check_folder(folder, settings, found)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(folder / SETTINGS, {"digest": found.digest, **settings.of_fit()})
    try:
        own = prepared(found, settings)
    except UserError:
        if is_new:  # there is no fit that could go on
            (folder / SETTINGS).unlink()
            folder.rmdir()
        raise
    name = "_".join(one.property.name for one in own.base.targets)[:60]
    check_free(name, chosen=True)
    write_aside(own.data.table.aside, folder / ASIDE)
    path = folder / f"{name}.safetensors"
    if not path.exists():
        _make(own, settings, path)
    # Bars are those of the table's kind of coordinates. Salts are refused if nobody strips them.
    options = "new.smi" if own.data.table.geometry == "smiles" else "new.sdf"
    options += " --strip-salts" if settings.strip_salts else ""
    return Fitted(path, tuple(lines_of(Outcome.read(folder))), options)


def _check_folder(folder: Path, settings: FitSettings, found: Given) -> None:
    """Refuse a folder that holds a fit already, none to resume, or another one."""
    told = folder / SETTINGS
    if settings.resume:
        if not told.exists():
            raise FileNotFoundError(f"nothing to resume: {told} does not exist")
        before = read_yaml(told)
        for key, value in {"digest": found.digest, **settings.of_fit()}.items():
            if before.get(key) != value:
                what = f"{key} was {shown(before.get(key))} and is {shown(value)} now"
                what = "the table has changed" if key == "digest" else what
                raise SettingError(f"--resume: {what}; --force begins anew")
        return
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not told.exists():
        raise FileExistsError(f"{folder} exists and holds no fit: choose another --output")
    if not settings.force:
        raise FileExistsError(
            f"{folder} holds a fit already: --resume goes on, --force begins anew, or choose "
            "another --output"
        )
    for one in told_files(folder):
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def told_files(folder: Path) -> list[Path]:
    """What a fit has written into its folder, as far as it is there."""
    names = [SETTINGS, *CHOICES, ASIDE, MEMBERS, UNFINISHED, *OUTCOME_FILES, REPORT]
    models = [one for one in folder.glob("*.safetensors") if one.with_suffix(".md").exists()]
    found = [*(folder / name for name in names), *models, *(m.with_suffix(".md") for m in models)]
    return [one for one in found if one.exists()]


def _make(own: Prepared, settings: FitSettings, path: Path) -> None:
    """Train, measure and write a model.

    Args:
        own: what it is made of.
        settings: of the fit.
        path: of its file, which is there once all is done.
    """
    recipe, folder = own.recipe, path.parent / MEMBERS
    base = with_pooling(own, settings, path.parent, folder)
    names = own.descriptors if base.targets[0].head == KERNEL else None
    own = own if names is None else own.of_kernels()
    data = own.data
    if names is not None:
        folds = [*range(recipe.members), NO_FOLD]
        *members, whole = kernel_members(base, data, names, folds, folder)
    else:
        members = train_members(base, data, recipe.members, recipe.folds, folder)
        whole = merged(members, polar=_some(data)) if len(members) > 1 else members[0]
    whole.name, whole.domain = path.stem, domain_of(data.geometries.molecules, data.learned())
    held = add_bars(whole, members, data, recipe.folds, recipe.conformers)
    test = tested(whole, data, recipe.conformers)

    def beside(other: Data, n: int) -> list[Predictor]:
        if names is not None:
            return kernel_members(base, other, names, range(n), folder / OTHER, logs=False)
        return train_members(base, other, n, recipe.folds, folder / OTHER)

    n_held = HELD_BESIDE if whole.heads.by_kernel or not base.max_epochs else 1
    outcome = outcome_of(own, whole, held, test, folder, beside, n_held)
    outcome.write(path.parent)
    write_page(path.parent / REPORT, outcome)
    part = path.with_name(UNFINISHED)
    save_checkpoint(whole, part, facts_of(own, base, settings, whole, test, folder, path.stem))
    path.with_suffix(".md").write_text(markdown(read_header(part)))
    os.replace(part, path)
    forget_states(folder, recipe.members)
    forget_states(folder / TRIED, 1)


def _some(data: Data, n: int = 20) -> Atoms:
    """Some molecules, on whose atoms the signs of charges are compared."""
    batch = data.geometries.molecules.batch(torch.arange(min(n, len(data.geometries.molecules))))
    return batch.z, batch.pos, batch.batch
