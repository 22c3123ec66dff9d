"""Where a run's weights start: fresh ones, or a checkpoint's in the units of the run's own data.

A checkpoint may be of another level of theory, whose energies of atoms differ by thousands of eV.
So the references are fitted to the run's data in any case, and the heads' last layers are scaled
so that what they add to the references, in eV and eV/Å, is what the checkpoint says of these data.
"""

from __future__ import annotations

from typing import Final

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from molgeo import models
from molgeo.data.molecules import MoleculeSet
from molgeo.elements import SYMBOLS
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import CheckpointError, load, read_header
from molgeo.predictor.heads import Heads
from molgeo.predictor.potential import standardised_forces
from molgeo.properties import Property, first_energy, names_of
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import say
from molgeo.training.config import RunConfig
from molgeo.training.heads_first import fit_heads
from molgeo.training.references import domain_of, fit_references, fit_rest, gain_of
from molgeo.training.task import Task

SAMPLE: Final = 512
"""Training molecules on which a checkpoint is compared with the data."""

FOR_MOMENTS: Final = 2048
"""Training molecules that say what moments of features are usual."""

BATCH: Final = 32
"""Training molecules on which the factors of a fresh backbone are fitted."""

FEW: Final = 32
"""Molecules from which on a factor is fitted to those alone whose elements a checkpoint knows."""

UNKNOWN: Final = "not stated"
"""Level of theory of data that do not tell."""

FORGOTTEN: Final = 0.25
"""Part of a checkpoint's environments of atoms that are not in the data, from which on it is said
that a run forgets them."""

GAIN: Final = (0.05, 20.0)
"""Bounds of the factor by which a checkpoint's outputs are scaled to fit the data."""


def with_model_of_checkpoint(config: RunConfig) -> RunConfig:
    """The config of a run with the backbone and head width of the checkpoint it starts from.

    Args:
        config: of the run; keys of the model that are left at their defaults are the checkpoint's.
            What a backbone `grows_by`, and the repulsion, may be added.

    Raises:
        ValueError: a key of the model is set to another value than the checkpoint's, or its
            backbone is of a package that is neither installed as one of models nor imported.
    """
    if not config.start_from:
        return config
    try:
        there = read_header(config.start_from).config
    except (CheckpointError, FileNotFoundError) as error:
        raise SettingError(f"start_from: {str(error).removeprefix('model: ')}") from None
    kind = models.model_class(there.model, trusted=False)  # a file has no code imported
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}

    def refuse(name: str, theirs: object, mine: object) -> None:
        raise SettingError(
            f"start_from: {config.start_from} has {name} {theirs!r}, this run {mine!r}; "
            f"leave {name} out to take the checkpoint's"
        )

    if config.model not in (defaults["model"], there.model):
        refuse("model", there.model, config.model)
    backbone = {name: value for name, value in there.backbone.items() if name != "n_out"}
    for name, value in config.backbone.items():
        if value and not backbone.get(name) and name in kind.grows_by:
            backbone[name] = value
        elif backbone.get(name) != value:
            refuse(f"backbone.{name}", there.backbone.get(name), value)
    is_default = config.head_features == defaults["head_features"]
    hidden = there.head_features if is_default else config.head_features
    model = {"model": there.model, "backbone": backbone, "head_features": hidden}
    has_energy = first_energy(config.learned) is not None  # nothing else can be repelled
    model["repulsion"] = config.repulsion or (there.repulsion and has_energy)
    return type(config)(**{**config.model_dump(), **model})


def first_predictor(config: RunConfig, task: Task, resume: bool = False) -> Predictor:
    """The predictor that a run starts with, its references fitted and its domain recorded.

    Args:
        config: of the run, as `with_model_of_checkpoint` gives it.
        task: of the run, its data set up.
        resume: the run goes on from a state of its own, which is no start to speak of.

    Raises:
        ValueError: references are to be kept that are of other properties, or the data have
            elements or charges that the model can know nothing of.
    """
    fields = config.head_features, config.repulsion
    predictor = Predictor(config.model, config.backbone, config.learned, *fields)
    data = task.data
    train, may_be_missing = data.parts.train, data.labels_may_be_missing
    last, n_elements = int(data.molecules.z.max()), predictor.backbone.n_elements
    if last >= n_elements:
        raise SettingError(
            f"model: {config.model} has features of atomic numbers below {n_elements}, and the "
            f"data have {SYMBOLS[last]} ({last}); take another model"
        )
    predictor.domain = own = domain_of(data.molecules, train)
    _check_surface(config, predictor, data.molecules)
    _check_charges(config, predictor, data.molecules)
    if not config.start_from:
        fit_references(predictor, data.molecules, train, task.free_atoms(), may_be_missing)
        batch = data.molecules.batch(train[:: -(-len(train) // BATCH)])
        predictor.backbone.fit_factors(batch.z, batch.pos, batch.graph(predictor.cutoff))
        _fit_moments(predictor, data.molecules, train)
        return predictor
    before = load(config.start_from)
    _copy_backbone(before.backbone, predictor.backbone)
    shared = _copy_heads(before.heads, predictor.heads)
    if not any(one.head == "moments" for one in shared):
        _fit_moments(predictor, data.molecules, train)
    if config.keep_references:
        if len(shared) < max(len(before.properties), len(predictor.properties)):
            raise SettingError(
                f"keep_references: expected a checkpoint with the same heads, "
                f"{', '.join(predictor.property_names)} of width {config.head_features}; "
                f"{config.start_from} has {', '.join(before.property_names)} "
                f"of width {before.heads.hidden}"
            )
        for name in ("baseline", "scale", "atom_reference"):
            getattr(predictor, name).copy_(getattr(before, name))
    else:
        fit_references(predictor, data.molecules, train, task.free_atoms(), may_be_missing)
        if task.rehearses:
            _lend_references(predictor, before, shared)
        spread = train[:: -(-len(train) // SAMPLE)]  # neighbours are of one molecule
        gain = 1.0 if task.rehearses else None  # what is rehearsed stays as it was
        _fit_heads(predictor, before, shared, data.molecules, spread, gain)
    if task.rehearses and before.domain is not None:
        predictor.domain = own.joined(before.domain)
    if config.heads_first and not resume:
        fit_heads(predictor, data, config, config.heads_first)
    if task.speaks and not resume:
        _tell(config, task, predictor, before, shared)
    return predictor


def _check_charges(config: RunConfig, predictor: Predictor, molecules: MoleculeSet) -> None:
    """Refuse molecules of several charges if the backbone cannot tell them apart.

    Raises:
        SettingError: it cannot. Molecules of one charge need no input that says so.
    """
    if molecules.charge is None or predictor.backbone.takes_charge:
        return
    found = molecules.charge.unique().tolist()
    if len(found) > 1:
        can = "charges" in predictor.backbone.grows_by
        advice = "set backbone.charges to true" if can else "take spectrum_net, which can take it"
        raise SettingError(
            f"model: the data have charges {', '.join(map(str, found))}, and {config.model} does "
            f"not take the charge of a molecule as an input; {advice}, or train on one charge"
        )


def _check_surface(config: RunConfig, predictor: Predictor, molecules: MoleculeSet) -> None:
    """Refuse forces as labels if the energy of the backbone is no smooth function of the positions.

    Raises:
        SettingError: it is not, or there is nothing that direct forces could learn from.
    """
    if molecules.force is None and predictor.backbone.direct_forces and not config.start_from:
        raise SettingError(
            "backbone.direct_forces: expected data with forces to learn them from, got none; leave "
            "it out"
        )
    if molecules.force is not None and not predictor.backbone.is_smooth:
        raise SettingError(f"model: {config.model}: {models.JUMPS}")


def _copy_backbone(before: models.Backbone, backbone: models.Backbone) -> None:
    """Take over all weights; what the backbone has grown by stays as it was made."""
    result = backbone.load_state_dict(before.state_dict(), strict=False)
    has_grown = any(
        getattr(backbone.config, name) and not getattr(before.config, name, False)
        for name in backbone.grows_by
    )
    if result.unexpected_keys or (result.missing_keys and not has_grown):
        backbone.load_state_dict(before.state_dict())  # which says what does not fit


def _fit_moments(predictor: Predictor, molecules: MoleculeSet, train: Tensor) -> None:
    """Standardise the moments of features, if there are heads that take them."""
    if not predictor.heads.by_moments:
        return
    moments, found = predictor.heads.moments, []
    for chunk in train[:: -(-len(train) // FOR_MOMENTS)].split(BATCH):
        batch = molecules.batch(chunk)
        graph = batch.graph(predictor.cutoff)
        with torch.no_grad():
            features = predictor.backbone.atom_features(batch.z, batch.pos, graph)
            found.append(moments.raw(features, graph))
    moments.fit(torch.cat(found))


def _copy_heads(before: Heads, heads: Heads) -> list[Property]:
    """Take over the heads of properties that both have; which these are.

    Those of moments are taken over if all are the same, those of kernels never: they are what
    training molecules say.
    """
    if before.by_kernel:
        return []
    if (before.hidden, before.feature_dim) != (heads.hidden, heads.feature_dim):
        return []
    if (before.properties, before.kinds) == (heads.properties, heads.kinds):
        heads.load_state_dict(before.state_dict())
        return [*heads.properties]
    of_atoms = {before.properties[k]: before.kinds[k] for k in before.by_atoms}
    shared = [one for one in heads.properties if of_atoms.get(one) == one.head]
    n = before.hidden
    with torch.no_grad():
        for one in shared:
            old, new = before.properties.index(one), heads.properties.index(one)
            to, of = heads.by_atoms.index(new), before.by_atoms.index(old)
            for layer in ("weight", "bias"):
                here, there = getattr(heads.in_layer, layer), getattr(before.in_layer, layer)
                here[to * n : (to + 1) * n] = there[of * n : (of + 1) * n]
            for mine, theirs in zip(_outputs(heads, new), _outputs(before, old), strict=True):
                heads.out_weight[mine] = before.out_weight[theirs]
                heads.out_bias[mine] = before.out_bias[theirs]
    return shared


def _outputs(heads: Heads, k: int) -> list[int]:
    """Rows of the last layer that make property k."""
    second = [len(heads.properties) + heads.twofold.index(k)] if k in heads.twofold else []
    return [k, *second]


def _lend_references(predictor: Predictor, before: Predictor, shared: list[Property]) -> None:
    """Begin with the baseline of a checkpoint, of each atom above its free atom.

    An element of which only one level's free atom is known gets none: the energy relative to it
    would be wrong for molecules of the other level.
    """
    for one in shared:
        new, old = predictor.properties.index(one), before.properties.index(one)
        own, theirs = predictor.atom_reference[new], before.atom_reference[old]
        is_mine, is_theirs = predictor.baseline[new].any(0), before.baseline[old].any(0)
        between = (own - theirs).nan_to_num(0.0)
        lent = before.baseline[old] + between * torch.tensor([[1.0], [0.0]])
        predictor.baseline[new] = lent.where(is_theirs, predictor.baseline[new])
        both = theirs.where(own.isnan() & ~is_mine, own.where(~theirs.isnan(), torch.nan))
        predictor.atom_reference[new] = both.where(is_theirs, own)


def _fit_heads(
    predictor: Predictor,
    before: Predictor,
    shared: list[Property],
    molecules: MoleculeSet,
    rows: Tensor,
    given_gain: float | None = None,
) -> None:
    """Scale copied heads to the data, and give the baseline what they then leave of the labels.

    Args:
        predictor: changed in place; with the checkpoint's heads and references of the data.
        before: the checkpoint.
        shared: properties whose heads were copied.
        molecules: the data.
        rows: (n,) of the training part.
        given_gain: the factor of all heads; None to fit it.
    """
    if not shared:
        return
    outputs, force_gain = _outputs_on(before, molecules, rows)
    for one in shared:
        new, old = predictor.properties.index(one), before.properties.index(one)
        known = molecules.y[rows, new].isfinite()
        own, labelled = outputs[known, old], rows[known]
        gain = given_gain or (force_gain if one.is_energy else None)
        if gain is None:
            gain = gain_of(predictor, molecules, labelled, new, own)
        gain = min(max(gain, GAIN[0]), GAIN[1])
        factor = gain * float(before.scale[old] / predictor.scale[new])
        with torch.no_grad():
            for row in _outputs(predictor.heads, new):
                predictor.heads.out_weight[row] *= factor
                predictor.heads.out_bias[row] *= factor
        if one == first_energy(predictor.properties):
            predictor.backbone.scale_forces(factor)
        fit_rest(predictor, molecules, labelled, new, gain * own)


def _outputs_on(
    before: Predictor, molecules: MoleculeSet, rows: Tensor
) -> tuple[Tensor, float | None]:
    """What a checkpoint's heads give, without its baseline, in its units.

    Returns:
        (n, properties) float64, and the factor that fits its forces to those of the data best,
        None if either has none. Forces on elements that it has never seen do not count.
    """
    counted = _known_to(before, molecules, rows)
    if counted.sum() < FEW:
        counted = torch.ones_like(counted)
    has_forces = molecules.force is not None and before.header.trained_on_forces
    found, products, squares = [], 0.0, 0.0
    for chunk, own in zip(rows.split(32), counted.split(32), strict=True):
        batch = molecules.batch(chunk)
        graph = batch.graph(before.cutoff)
        with torch.no_grad():
            found.append(before.standardised(batch.z, batch.pos, graph).double())
        if has_forces and batch.force is not None:
            k = before.energy_index
            _, force = standardised_forces(before, batch.z, batch.pos, graph)
            known = own[batch.batch]
            force = before.scale[k] * force.detach().double()[known]
            products += float((force * batch.force[known]).sum())
            squares += float(force.square().sum())
    gain = products / squares if has_forces and squares else None
    return before.scale * torch.cat(found), gain


def _known_to(before: Predictor, molecules: MoleculeSet, rows: Tensor) -> Tensor:
    """(n,) whether a checkpoint has seen the elements and the charge of each of some rows."""
    if before.domain is None:
        return torch.ones(len(rows), dtype=torch.bool)
    atoms, batch, _ = molecules.atoms(rows)
    seen = torch.isin(molecules.z[atoms].long(), torch.tensor(before.domain.elements))
    strange = torch.zeros(len(rows), dtype=torch.long).index_add_(0, batch, (~seen).long())
    if molecules.charge is not None:
        charges = torch.tensor(before.domain.seen_charges)
        strange += ~torch.isin(molecules.charge[rows], charges)
    return strange == 0


@rank_zero_only
def _tell(
    config: RunConfig, task: Task, predictor: Predictor, before: Predictor, shared: list[Property]
) -> None:
    """Say on standard error what was taken, and where levels of theory and elements differ."""
    heads = (
        f" and the heads of {', '.join(names_of(shared))}" if shared else "; the heads are fresh"
    )
    kept = "the checkpoint's" if config.keep_references else "fitted to the data"
    lines = [
        f"{config.start_from} gives the backbone ({config.model}){heads}; references are {kept}"
    ]
    theirs = before.header.level_of_theory or UNKNOWN
    mine = getattr(config, "level_of_theory", "") or task.about().get("level_of_theory") or UNKNOWN
    if UNKNOWN in (theirs, mine) or theirs.split() != mine.split():
        hint = "; keep_references does not bridge them" if config.keep_references else ""
        lines.append(f"level of theory: {theirs} in the checkpoint, {mine} in the data{hint}")
    seen = before.domain.elements if before.domain else ()
    now = predictor.domain.elements if predictor.domain else ()
    if new := [SYMBOLS[z] for z in now if z not in seen]:
        lines.append(f"elements that the checkpoint has never seen start afresh: {', '.join(new)}")
    lines += _forgotten(task, predictor, before)
    for line in lines:
        say(f"start_from: {line}")


def _forgotten(task: Task, predictor: Predictor, before: Predictor) -> list[str]:
    """One line if a force field is to lose much of what it knew."""
    mine, theirs = predictor.domain, before.domain
    is_field = predictor.properties == before.properties and before.header.trained_on_forces
    if task.rehearses or not is_field or None in (mine, theirs):
        return []
    now, then = (set(one.environments.counts) for one in (mine, theirs) if one and one.environments)
    if len(then - now) < FORGOTTEN * len(then):
        return []
    return [
        f"the model will forget molecules unlike the data: of {len(then)} environments of atoms "
        f"that it knew, the data have {len(then & now)}; --rehearsal 0.5 keeps them"
    ]
