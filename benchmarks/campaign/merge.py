"""Several models as one that predicts their weighted mean.

    python benchmarks/campaign/merge.py a.safetensors b.safetensors merged.safetensors --name NAME
    python benchmarks/campaign/merge.py a b merged.safetensors --weights 0.6 0.4 --name NAME

The backbones stand side by side (`molgeo.models.side_by_side`). Every head has the hidden layers of
all models, each on the features of its own backbone, and adds up their outputs times the weights.
The dipole is the norm of the mean vector. As μ is the same for charges of the other sign, those of
a model are turned if they oppose the first model's.

All have to predict the same properties, with the same free atoms: those of one data set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from molgeo.graph import radius_graph
from molgeo.ops.segment import molecule_sum
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.heads import Heads
from molgeo.testing.case import atoms_of, collated

POLAR = ("methanol", "ammonia", "water", "carbon dioxide")
"""Molecules on whose atoms the signs of charges are compared."""


def merge(parts: Sequence[Predictor], weights: Sequence[float] = ()) -> Predictor:
    """The weighted mean of predictors as one.

    Args:
        parts: two or more.
        weights: of each, which add up to one; none for equal ones.

    Returns:
        A `SideBySide` with all features and all hidden units of the heads.

    Raises:
        ValueError: they differ in properties, free atoms or repulsion, or the weights do not fit.
    """
    weights = list(weights) or [1 / len(parts)] * len(parts)
    if len(weights) != len(parts) or not abs(sum(weights) - 1) < 1e-6:
        raise ValueError(f"weights: expected {len(parts)} that add up to 1, got {weights}")
    first = parts[0]
    for other in parts[1:]:
        for field in ("properties", "repulsion"):
            if getattr(other.config, field) != getattr(first.config, field):
                raise ValueError(f"{field}: expected the same in all models")
        mine, theirs = (one.atom_reference.nan_to_num(0.0) for one in (first, other))
        if not torch.allclose(mine, theirs):
            raise ValueError("atom_reference: expected the same in all models, those of one set")
    merged = Predictor(
        "side_by_side",
        {"members": [_member(one) for one in parts]},
        first.properties,
        sum(one.heads.hidden for one in parts),
        first.config.repulsion,
    )
    state = {name: getattr(first, name) for name in ("scale", "atom_reference")}
    baselines = [w * one.baseline for w, one in zip(weights, parts, strict=True)]
    state["baseline"] = torch.stack(baselines).sum(0)  # linear in what it adds to a property
    for k, one in enumerate(parts):
        own = one.backbone.state_dict()
        state |= {f"backbone.members.{k}.{name}": value for name, value in own.items()}
    merged.load_state_dict(state | {f"heads.{k}": v for k, v in _heads(parts, weights).items()})
    merged.domain = _union([one.domain for one in parts])
    return merged.eval()


def _member(one: Predictor) -> dict[str, Any]:
    return {"model": one.config.model} | {
        k: v for k, v in one.config.backbone.items() if k != "n_out"
    }


def _heads(parts: Sequence[Predictor], weights: Sequence[float]) -> dict[str, Tensor]:
    """Weights of the heads, each hidden unit on the features of its own backbone."""
    n = len(parts[0].properties)
    into, biases, out, out_bias = [], [], [], []
    for k, (one, weight) in enumerate(zip(parts, weights, strict=True)):
        heads = one.heads
        left, right = (
            sum(other.backbone.feature_dim for other in others)
            for others in (parts[:k], parts[k + 1 :])
        )
        w = heads.in_layer.weight.detach().unflatten(0, (n, heads.hidden))
        into.append(torch.nn.functional.pad(w, (left, right)))
        biases.append(heads.in_layer.bias.detach().unflatten(0, (n, heads.hidden)))
        shares = weight * _signs(one, parts[0]) * _by_output(one.scale / parts[0].scale, heads)
        out.append(heads.out_weight.detach() * shares.unsqueeze(-1))
        out_bias.append(heads.out_bias.detach() * shares)
    return {
        "in_layer.weight": torch.cat(into, dim=1).flatten(0, 1),
        "in_layer.bias": torch.cat(biases, dim=1).flatten(),
        "out_weight": torch.cat(out, dim=1),
        "out_bias": torch.stack(out_bias).sum(0),
    }


def _by_output(of_properties: Tensor, heads: Heads) -> Tensor:
    """Of each property, then again of each extent, whose second output follows the properties'."""
    return torch.cat([of_properties, of_properties[heads.extents]]).float()


def _signs(one: Predictor, first: Predictor) -> Tensor:
    """-1 for outputs that are charges of dipoles and oppose the first model's, else 1."""
    signs = torch.ones(len(one.heads.out_bias))
    for k, kind in enumerate(one.heads.kinds):
        if kind == "dipole":
            own, other = (_charges(each, k) for each in (one, first))
            signs[k] = 1.0 if float(own @ other) >= 0 else -1.0
    return signs


@torch.no_grad()
def _charges(one: Predictor, k: int) -> Tensor:
    """Neutralised charges of a dipole on the atoms of a few molecules."""
    z, pos, batch = collated([atoms_of(name) for name in POLAR])
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


def main() -> None:
    """Merge checkpoints."""
    parser = argparse.ArgumentParser(description="several models as one that predicts their mean")
    parser.add_argument("parts", nargs="+", help="checkpoints or names of shipped models")
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=float, nargs="+", default=[])
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--notes", default="", help="for its card")
    options = parser.parse_args()
    parts = [load(one) for one in options.parts]
    measured = ("metrics", "calibration", "from_smiles", "familiarity", "outside")
    facts: dict[str, Any] = {k: v for k, v in parts[0].header.told().items() if k not in measured}
    facts |= {"name": options.name, "notes": options.notes, "metrics": {}}
    save_checkpoint(merge(parts, options.weights), options.output, facts)
    print(options.output)


if __name__ == "__main__":
    main()
