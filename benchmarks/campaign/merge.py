"""Two SchNets as one that is twice as wide and predicts the mean of both.

    python benchmarks/campaign/merge.py a.safetensors b.safetensors merged.safetensors --name NAME

Every layer of SchNet acts on features (or on Gaussians) and every product is by feature, so that
two networks side by side are one whose dense layers are block-diagonal; heads with both hidden
layers give half the sum of both heads. The dipole's norm is that of the mean
vector. The merged model is a plain `SchNet`: it loads, predicts and trains on as any other.

Both have to have the same references (baseline and scale): one was trained on from the other, or
both from a third.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain


def merge(a: Predictor, b: Predictor) -> Predictor:
    """The mean of two predictors as one.

    Args:
        a: a SchNet.
        b: one with the same config and references.

    Returns:
        A SchNet with twice the features, filters and hidden units of the heads.

    Raises:
        ValueError: they are no SchNets, or differ in their configs or references.
    """
    if a.config.model != "schnet":
        raise ValueError(f"model: expected schnet, got {a.config.model}")
    for field, value in a.config:
        if (other := getattr(b.config, field)) != value:
            raise ValueError(f"{field}: expected {value}, as the first has it, got {other}")
    for name in ("baseline", "scale", "atom_reference"):
        if not torch.equal(getattr(a, name).nan_to_num(0.0), getattr(b, name).nan_to_num(0.0)):
            raise ValueError(f"{name}: expected the same in both; train one on from the other")
    narrow = a.config.backbone
    backbone = {k: v for k, v in narrow.items() if k != "n_out"}
    backbone |= {name: 2 * narrow[name] for name in ("n_features", "n_filters")}
    hidden = a.config.head_features
    merged = Predictor("schnet", backbone, a.properties, 2 * hidden)
    weights = merged.state_dict()
    of_a, of_b = a.state_dict(), b.state_dict()
    for name, w in weights.items():
        weights[name] = _joined(name, of_a[name], of_b[name], w, hidden)
    merged.load_state_dict(weights)
    merged.domain = _union(a.domain, b.domain)
    return merged.eval()


def _union(a: Domain | None, b: Domain | None) -> Domain:
    """All that one of both was trained on."""
    if a is None or b is None or a.charge != b.charge:
        raise ValueError("domain: expected both to have one, with the same charge")
    elements = tuple(sorted({*a.elements, *b.elements}))
    atoms, distance = max(a.max_atoms, b.max_atoms), min(a.min_distance, b.min_distance)
    known = a.environments is not None and b.environments is not None
    held = a.environments.joined(b.environments) if known else None
    return Domain(elements, atoms, distance, a.charge, held)


def _joined(name: str, a: Tensor, b: Tensor, like: Tensor, hidden: int) -> Tensor:
    """Weights of both networks where those of the wide one are."""
    if name == "heads.out_bias":
        return (a + b) / 2
    if name == "heads.out_weight":
        return torch.cat([a, b], dim=1) / 2
    if a.shape == like.shape:  # the references, which are the same
        return a
    if name.startswith("heads.in_layer"):  # by property, then by hidden unit
        a, b = (w.unflatten(0, (-1, hidden)) for w in (a, b))
        if name.endswith("bias"):
            return torch.cat([a, b], dim=1).flatten()
        blocks = torch.cat([_beside(a, b, 0), _beside(b, a, 1)], dim=1)
        return blocks.flatten(0, 1)
    if name.endswith("embedding.weight"):
        return torch.cat([a, b], dim=1)
    if a.ndim == 1 or a.shape[1] == like.shape[1]:  # biases; layers on the Gaussians
        return torch.cat([a, b])
    return torch.block_diag(a, b)


def _beside(own: Tensor, other: Tensor, place: int) -> Tensor:
    """A head's weights on the features of its own network, zeros on the other's."""
    parts = [own, torch.zeros_like(other)]
    return torch.cat(parts if place == 0 else parts[::-1], dim=-1)


def main() -> None:
    """Merge two checkpoints."""
    parser = argparse.ArgumentParser(description="two SchNets as one that predicts their mean")
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--notes", default="", help="for its card")
    options = parser.parse_args()
    a, b = load(options.a), load(options.b)
    measured = ("metrics", "calibration", "from_smiles")
    facts: dict[str, Any] = {k: v for k, v in b.header.told().items() if k not in measured}
    facts |= {"name": options.name, "notes": options.notes, "metrics": {}}
    save_checkpoint(merge(a, b), options.output, facts)
    print(options.output)


if __name__ == "__main__":
    main()
