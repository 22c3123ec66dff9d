"""Which kind of head a fit takes, as held-out rows like it best.

Kernels and heads of networks are fitted on some folds, while the backbone stands still. That takes
seconds, and says what a fit of the chosen kind will be worth, unless the value is one in which each
atom has a share: there a network gets far better by training the backbone, too. So of such values a
member is trained, and compared with a kernel of the same rows.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from molgeo.evaluation.properties import collect
from molgeo.fitting.bars import sample_of
from molgeo.fitting.kernel_members import kernel_errors, kernel_members
from molgeo.fitting.members import pooling_of, train_members
from molgeo.fitting.preparing import Prepared
from molgeo.fitting.recipe import COMPARED_KINDS, KERNEL
from molgeo.fitting.settings import FitSettings
from molgeo.predictor import Predictor
from molgeo.properties import HeadKind
from molgeo.runtime.plain_text import say
from molgeo.training.table import TableConfig
from molgeo.training.yaml_text import read_yaml, write_yaml

POOLING: Final = "pooling.yaml"
TRIAL: Final = "trial.yaml"
CHOICES: Final = (POOLING, TRIAL)
"""Files of the errors of kinds of heads, and of a member that was trained beside a kernel."""

TRIED: Final = "tried"
"""Folder of these two, among those of the members."""

SHARED_OUT: Final = 0.5
"""Error of a sum over atoms, as part of that of a mean, below which each atom has a share."""


def with_pooling(own: Prepared, settings: FitSettings, folder: Path, members: Path) -> TableConfig:
    """The config of all members, with the heads that held-out rows like best.

    Args:
        own: what the model is made of.
        settings: of the fit.
        folder: of the fit, which keeps what was found.
        members: folder of its members.
    """
    base, has_classes = own.base, any(one.classes for one in own.columns)
    if settings.pooling == "auto" and has_classes and not settings.from_scratch:
        # Their error is an entropy, which says how sure heads are and not how well they rank.
        base = _with_heads(base, ["moments"] * len(base.targets))
    elif settings.pooling == "auto":
        kept = folder / POOLING
        if not kept.exists():
            write_yaml(kept, _compared(own, settings.from_scratch))
        errors = [read_yaml(kept)[one.property.name] for one in base.targets]
        heads = best_heads(errors)
        for one, head, found in zip(base.targets, heads, errors, strict=True):
            unit = f" {one.unit}" if one.unit else ""
            each = ", ".join(f"{error:.3g}{unit} by {kind}" for kind, error in found.items())
            say(
                f"{one.column}: pooled by {head}: held-out rows have an error of {each} "
                "(heads alone, two folds); --pooling takes another"
            )
        base = _with_heads(base, heads)
        if heads[0] == KERNEL and all(map(is_shared_out, errors)):
            base = _tried(own, base, folder, members)
    if all(one.head == "moments" for one in base.targets) and not settings.from_scratch:
        base = base.model_copy(update={"max_epochs": settings.epochs or 0})
    return base


def _with_heads(base: TableConfig, heads: Sequence[str]) -> TableConfig:
    """The config with a kind of head for each target."""
    pairs = zip(base.targets, heads, strict=True)
    return base.model_copy(
        update={"targets": [one.model_copy(update={"head": head}) for one, head in pairs]}
    )


def _compared(own: Prepared, from_scratch: bool) -> dict[str, dict[str, float]]:
    """Name of a target → kind of head → mean absolute error of held-out rows, in its unit."""
    kinds: list[HeadKind] = list(COMPARED_KINDS[from_scratch])
    if own.descriptors is not None:
        kinds.remove("moments")
    errors = pooling_of(own.base, own.data, kinds)
    found: dict[str, dict[str, float]] = {
        name: dict(zip(kinds, each, strict=True)) for name, each in errors.items()
    }
    if own.descriptors is not None:
        base = _with_heads(own.base, [KERNEL] * len(own.base.targets))
        of_kernels = kernel_errors(base, own.of_kernels().data, own.descriptors)
        for name, error in zip(found, of_kernels, strict=True):
            found[name] = {KERNEL: error, **found[name]}
    return found


def best_heads(errors: Sequence[Mapping[str, float]]) -> list[str]:
    """The kind of head of each target.

    A kernel is fitted and a network trained, so all heads of a model are kernels, or none is.

    Args:
        errors: of each target, by kind.
    """
    networks = [{kind: x for kind, x in one.items() if kind != KERNEL} for one in errors]
    best = [min(one, key=one.__getitem__) for one in networks]
    if not all(KERNEL in one for one in errors):
        return best
    pairs = zip(errors, best, strict=True)
    is_better = mean_log_ratio([(one[KERNEL], one[kind]) for one, kind in pairs]) <= 0
    return [KERNEL] * len(best) if is_better else best


def is_shared_out(errors: Mapping[str, float]) -> bool:
    """Whether each atom has a share in a value, by the errors of its kinds of heads."""
    return errors["sum"] <= SHARED_OUT * errors["mean"]


def mean_log_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Mean logarithm of the ratios of two errors, below zero if the first ones are smaller."""
    return float(np.mean([math.log((a + 1e-300) / (b + 1e-300)) for a, b in pairs]))


def _tried(own: Prepared, base: TableConfig, folder: Path, members: Path) -> TableConfig:
    """The better config of kernels and of sums, by a member of each on the fold that it lacks.

    Args:
        own: what the model is made of.
        base: the config of kernels.
        folder: of the fit.
        members: folder of its members, which gets that of the network if it is the better one.
    """
    sums = _with_heads(base, ["sum"] * len(base.targets))
    kept, tried = folder / TRIAL, members / TRIED
    if not kept.exists():
        say(
            "each atom seems to have a share in the values: one network is trained, to compare it "
            "with a kernel"
        )
        assert own.descriptors is not None
        network = train_members(sums, own.data, 1, own.recipe.folds, tried)[0]
        described, names = own.of_kernels(), own.descriptors
        (kernel,) = kernel_members(base, described.data, names, [0], tried / KERNEL, logs=False)
        write_yaml(kept, {"sum": _errors(network, own), KERNEL: _errors(kernel, described)})
    errors = read_yaml(kept)
    is_better = mean_log_ratio(list(zip(errors["sum"], errors[KERNEL], strict=True))) < 0
    for one, of_sum, of_kernel in zip(base.targets, errors["sum"], errors[KERNEL], strict=True):
        unit = f" {one.unit}" if one.unit else ""
        say(
            f"{one.column}: a network that is trained without a fold has an error of {of_sum:.3g}"
            f"{unit} there, a kernel {of_kernel:.3g}{unit}: {'sum' if is_better else KERNEL} is "
            "taken"
        )
    if is_better and not (members / "1").exists() and (tried / "1").exists():
        shutil.move(tried / "1", members / "1")  # it is the first member already
    return sums if is_better else base


def _errors(member: Predictor, own: Prepared) -> list[float]:
    """Mean absolute errors of a member on the first fold, in the units of the targets."""
    data = own.data
    rows = torch.from_numpy(np.flatnonzero(data.folds.fold == 0))
    found = collect(member, sample_of(data, rows, member.properties, own.recipe.conformers))
    wrong: list[float] = (found.values - found.labels).abs().nanmean(0).tolist()
    return wrong
