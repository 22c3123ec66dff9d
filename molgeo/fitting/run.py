"""From a table to a model with error bars: `fit` is the way through.

    table → rows → values → conformers → folds → pooling → members → their mean → bars → report

Each step is deterministic, and what takes long is kept in the folder as it comes: conformers and
the members' states. So a fit that was killed gives, when it is resumed, the model that it would
have given.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from molgeo.evaluation.cards import markdown
from molgeo.fitting.bars import add_bars
from molgeo.fitting.kernel_members import NO_FOLD, kernel_errors, kernel_members
from molgeo.fitting.members import Data, forget_states, pooling_of, train_members
from molgeo.fitting.outcome import FILES as OUTCOME_FILES
from molgeo.fitting.outcome import Outcome
from molgeo.fitting.preparing import Given, Prepared, given, prepared
from molgeo.fitting.recipe import COMPARED_KINDS, KERNEL
from molgeo.fitting.report.page import write_page
from molgeo.fitting.settings import FitSettings
from molgeo.fitting.telling import REPORT, facts_of, lines_of, outcome_of, tested
from molgeo.generate.table import write_aside
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import read_header, save_checkpoint
from molgeo.predictor.merging import Atoms, merged
from molgeo.runtime.device import choose
from molgeo.runtime.errors import SettingError, UserError
from molgeo.runtime.plain_text import say, shown
from molgeo.runtime.whole_file import replacing
from molgeo.training.naming import check_free
from molgeo.training.references import domain_of
from molgeo.training.table import TableConfig
from molgeo.training.yaml_text import read_yaml

SETTINGS: Final = "fit.yaml"
"""File of a fit's settings, in its folder."""

MEMBERS: Final = "members"
"""Folder of the members' runs."""

OTHER: Final = "other_split"
"""Folder of members of the other split, among those of the model's members."""

HELD_BESIDE: Final = 2
"""Folds of the other split that are held out, if heads alone are fitted, which takes seconds; else
one."""

POOLING: Final = "pooling.yaml"
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
    _keep(folder / SETTINGS, {"digest": found.digest, **settings.of_fit()})
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


def _keep(path: Path, content: dict[str, Any]) -> None:
    """Write a file that a fit which is resumed reads, whole or not at all."""
    with replacing(path) as part:
        part.write_text(yaml.safe_dump(content, sort_keys=False))


def told_files(folder: Path) -> list[Path]:
    """What a fit has written into its folder, as far as it is there."""
    names = [SETTINGS, POOLING, ASIDE, MEMBERS, UNFINISHED, *OUTCOME_FILES, REPORT]
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
    base = _with_pooling(own, settings, path.parent)
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


def _with_pooling(own: Prepared, settings: FitSettings, folder: Path) -> TableConfig:
    """The config of all members, with the heads that held-out rows like best."""
    base, has_classes = own.base, any(one.classes for one in own.columns)
    if settings.pooling == "auto" and has_classes and not settings.from_scratch:
        # Their error is an entropy, which says how sure heads are and not how well they rank.
        targets = [one.model_copy(update={"head": "moments"}) for one in base.targets]
        base = base.model_copy(update={"targets": targets})
    elif settings.pooling == "auto":
        kept = folder / POOLING
        if not kept.exists():
            _keep(kept, _compared(own, settings.from_scratch))
        errors, targets = read_yaml(kept), []
        heads = _best([errors[one.property.name] for one in base.targets])
        for one, head in zip(base.targets, heads, strict=True):
            unit = f" {one.unit}" if one.unit else ""
            found = errors[one.property.name]
            each = ", ".join(f"{error:.3g}{unit} by {kind}" for kind, error in found.items())
            say(
                f"{one.column}: pooled by {head}: held-out rows have an error of {each} "
                "(heads alone, two folds); --pooling takes another"
            )
            targets.append(one.model_copy(update={"head": head}))
        base = base.model_copy(update={"targets": targets})
    if all(one.head == "moments" for one in base.targets) and not settings.from_scratch:
        base = base.model_copy(update={"max_epochs": settings.epochs or 0})
    return base


def _compared(own: Prepared, from_scratch: bool) -> dict[str, dict[str, float]]:
    """Name of a target → kind of head → mean absolute error of held-out rows, in its unit."""
    kinds = list(COMPARED_KINDS[from_scratch])
    if own.descriptors is not None:
        kinds.remove("moments")
    errors = pooling_of(own.base, own.data, kinds)
    found: dict[str, dict[str, float]] = {
        name: dict(zip(kinds, each, strict=True)) for name, each in errors.items()
    }
    if own.descriptors is not None:
        targets = [one.model_copy(update={"head": KERNEL}) for one in own.base.targets]
        base = own.base.model_copy(update={"targets": targets})
        of_kernels = kernel_errors(base, own.of_kernels().data, own.descriptors)
        for name, error in zip(found, of_kernels, strict=True):
            found[name] = {KERNEL: error, **found[name]}
    return found


def _best(errors: Sequence[Mapping[str, float]]) -> list[str]:
    """The kind of head of each target.

    A kernel is fitted and a network trained, so all heads of a model are kernels, or none is.

    Args:
        errors: of each target, by kind.
    """
    networks = [{kind: x for kind, x in one.items() if kind != KERNEL} for one in errors]
    best = [min(one, key=one.__getitem__) for one in networks]
    if not all(KERNEL in one for one in errors):
        return best
    logs = [
        math.log((one[KERNEL] + 1e-300) / (one[k] + 1e-300))
        for one, k in zip(errors, best, strict=True)
    ]
    return [KERNEL] * len(best) if sum(logs) <= 0 else best


def _some(data: Data, n: int = 20) -> Atoms:
    """Some molecules, on whose atoms the signs of charges are compared."""
    batch = data.geometries.molecules.batch(torch.arange(min(n, len(data.geometries.molecules))))
    return batch.z, batch.pos, batch.batch
