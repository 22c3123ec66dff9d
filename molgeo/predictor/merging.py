"""Several predictors of the same properties as one that predicts their weighted mean.

The backbones stand side by side (`molgeo.models.side_by_side`); if all are the same, there is one.
Every head has the hidden layers of all models, each on the features of its own backbone, and adds
up their outputs times the weights.
The dipole is the norm of the mean vector. As μ is the same for charges of the other sign, those of
a model are turned if they oppose the first model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from molgeo.graph import radius_graph
from molgeo.ops.segment import molecule_sum
from molgeo.predictor.domain import Domain
from molgeo.predictor.heads import Heads, Moments
from molgeo.predictor.predictor import Predictor

Atoms = tuple[Tensor, Tensor, Tensor]
"""``z``, ``pos`` and ``batch`` of some molecules, as a `Predictor` is called."""


def merged(
    parts: Sequence[Predictor], weights: Sequence[float] = (), polar: Atoms | None = None
) -> Predictor:
    """The weighted mean of predictors as one.

    Args:
        parts: two or more, with the same properties and free atoms: those of one data set.
        weights: of each, which add up to one; none for equal ones.
        polar: molecules with dipoles, on whose atoms the signs of charges are compared; needed if
            there is a head for a dipole.

    Returns:
        A `SideBySide` with all features and all hidden units of the heads; with the models'
        backbone, if they have the same one.

    Raises:
        ValueError: they differ in properties, free atoms or repulsion, the weights do not fit,
            there are dipoles and no molecules to compare them on, or values come from a kernel or
            are of orbitals.
    """
    weights = list(weights) or [1 / len(parts)] * len(parts)
    if len(weights) != len(parts) or not abs(sum(weights) - 1) < 1e-6:
        raise ValueError(f"weights: expected {len(parts)} that add up to 1, got {weights}")
    first = parts[0]
    if first.heads.by_kernel:
        raise ValueError("head: expected no kernel: one of all molecules is better than several")
    if "orbital" in first.heads.kinds:
        raise ValueError("head: expected no orbital: the mean of two weighted means is not one")
    if "dipole" in first.heads.kinds and polar is None:
        raise ValueError("polar: expected molecules on which to compare the signs of charges")
    for other in parts[1:]:
        for field in ("properties", "repulsion"):
            if getattr(other.config, field) != getattr(first.config, field):
                raise ValueError(f"{field}: expected the same in all models")
        if other.heads.kinds != first.heads.kinds:
            raise ValueError("head: expected the same in all models")
        mine, theirs = (one.atom_reference.nan_to_num(0.0) for one in (first, other))
        if not torch.allclose(mine, theirs):
            raise ValueError("atom_reference: expected the same in all models, those of one set")
    is_one = all(_is_same(one, first) for one in parts[1:])
    side_by_side = {"members": [_member(one) for one in parts]}
    whole = Predictor(
        first.config.model if is_one else "side_by_side",
        first.config.backbone if is_one else side_by_side,
        first.properties,
        sum(one.heads.hidden for one in parts),
        first.config.repulsion,
    )
    state = {name: getattr(first, name) for name in ("scale", "atom_reference")}
    baselines = [w * one.baseline for w, one in zip(weights, parts, strict=True)]
    state["baseline"] = torch.stack(baselines).sum(0)  # linear in what it adds to a property
    for k, one in enumerate(parts[:1] if is_one else parts):
        own, room = one.backbone.state_dict(), "backbone." if is_one else f"backbone.members.{k}."
        state |= {room + name: value for name, value in own.items()}
    heads = _inputs(parts, is_one) | _outputs(parts, weights, polar)
    whole.load_state_dict(state | {f"heads.{name}": value for name, value in heads.items()})
    whole.domain = _union([one.domain for one in parts])
    return whole.eval()


def _is_same(one: Predictor, other: Predictor) -> bool:
    """Whether two models have the same backbone."""
    mine, theirs = (each.backbone.state_dict() for each in (one, other))
    same = one.config.model == other.config.model and one.config.backbone == other.config.backbone
    return same and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _member(one: Predictor) -> dict[str, Any]:
    return {"model": one.config.model} | {
        k: v for k, v in one.config.backbone.items() if k != "n_out"
    }


def _inputs(parts: Sequence[Predictor], is_one: bool) -> dict[str, Tensor]:
    """First layers of the heads, each hidden unit on the features of its own backbone."""
    first = parts[0].heads
    found: dict[str, Tensor] = {}
    for name, places in (("in_layer", first.by_atoms), ("moments_layer", first.by_moments)):
        if not places:
            continue
        into, biases = [], []
        for k, one in enumerate(parts):
            layer, hidden = getattr(one.heads, name), one.heads.hidden
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if is_one and name == "moments_layer":
                weight, bias = _on(first.moments, one.heads.moments, weight, bias)
            others = [] if is_one else [each.backbone.feature_dim for each in parts]
            left, right = sum(others[:k]), sum(others[k + 1 :])
            # (properties, hidden, moments or one, features)
            w = weight.view(len(places), hidden, -1, one.heads.feature_dim)
            into.append(torch.nn.functional.pad(w, (left, right)))
            biases.append(bias.view(len(places), hidden))
        found[f"{name}.weight"] = torch.cat(into, dim=1).flatten(2).flatten(0, 1)
        found[f"{name}.bias"] = torch.cat(biases, dim=1).flatten()
    if first.by_moments:
        known = [one.heads.moments for one in (parts[:1] if is_one else parts)]
        found["moments.centre"] = torch.cat([each.centre for each in known], dim=1)
        found["moments.factor"] = torch.cat([each.factor for each in known], dim=1)
    return found


def _on(first: Moments, own: Moments, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A layer on moments as another model has standardised them.

    (m − c₂) f₂ = (m − c₁) f₁ · f₂/f₁ + (c₁ − c₂) f₂
    """
    ratio = torch.where(first.factor > 0, own.factor / first.factor, 0.0)
    shift = (first.centre - own.centre) * own.factor
    return weight * ratio.flatten(), bias + weight @ shift.flatten()


def _outputs(
    parts: Sequence[Predictor], weights: Sequence[float], polar: Atoms | None
) -> dict[str, Tensor]:
    """Last layers of the heads."""
    out, out_bias = [], []
    for one, weight in zip(parts, weights, strict=True):
        heads = one.heads
        signs = torch.ones(len(heads.out_bias))
        if polar is not None:
            signs = _signs(one, parts[0], polar)
        shares = weight * signs * _by_output(one.scale / parts[0].scale, heads)
        out.append(heads.out_weight.detach() * shares.unsqueeze(-1))
        out_bias.append(heads.out_bias.detach() * shares)
    return {"out_weight": torch.cat(out, dim=1), "out_bias": torch.stack(out_bias).sum(0)}


def _by_output(of_properties: Tensor, heads: Heads) -> Tensor:
    """Of each property, then again of what is twofold: second outputs follow the properties'."""
    return torch.cat([of_properties, of_properties[heads.twofold]]).float()


def _signs(one: Predictor, first: Predictor, polar: Atoms) -> Tensor:
    """-1 for outputs that are charges of dipoles and oppose the first model's, else 1."""
    signs = torch.ones(len(one.heads.out_bias))
    for k, kind in enumerate(one.heads.kinds):
        if kind == "dipole":
            own, other = (_charges(each, k, polar) for each in (one, first))
            signs[k] = 1.0 if float(own @ other) >= 0 else -1.0
    return signs


@torch.no_grad()
def _charges(one: Predictor, k: int, polar: Atoms) -> Tensor:
    """Neutralised charges of a dipole on the atoms of a few molecules."""
    z, pos, batch = polar
    graph = radius_graph(pos.float(), one.cutoff, batch)
    charges = one.heads.per_atom(one.backbone.atom_features(z, pos.float(), graph))[0][:, k]
    means = molecule_sum(charges, graph) / graph.atoms_per_molecule
    return charges - means[batch]


def _union(domains: Sequence[Domain | None]) -> Domain:
    """All that one of them was trained on; of one data set it is counted once."""
    known = [one for one in domains if one is not None]
    if len(known) < len(domains):
        raise ValueError("domain: expected every model to have one")
    return reduce(lambda a, b: a if a == b else a.joined(b), known)
