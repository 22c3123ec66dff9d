"""The two sides: molgeo's model and PyG's with the same weights, on the same molecules."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch_geometric.nn.models.schnet import RadiusInteractionGraph

from molgeo.datasets.molecules import MoleculeSet
from molgeo.datasets.qm9 import QM9
from molgeo.graph import Graph, radius_graph
from molgeo.graph.triplets import triplets
from molgeo.models import build

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pyg_weights import pyg_dimenet, pyg_dimenet_pp, pyg_schnet

MODELS = ("schnet", "dimenet_pp", "dimenet")
MODES = ("infer", "train")
FIELDS: dict[str, dict[str, Any]] = {
    "schnet": {},
    # Published last layers start at zero, and zeros always agree.
    "dimenet_pp": {"output_init": "glorot_orthogonal"},
    # PyG's angle is that of the published code.
    "dimenet": {"output_init": "glorot_orthogonal", "angle": "reference"},
}
"""What differs from the published models."""
SEED = 42
LEARNING_RATE = 1e-5
"""Small, so that both sides stay near the weights whose results were compared."""


def has_extensions(model: str) -> bool:
    """Whether PyG has the compiled extensions with which it finds this model's edges itself."""
    from torch_geometric.nn.models import dimenet

    try:
        edge_index = dimenet.radius_graph(torch.eye(3), r=2.0)
        if model != "schnet":
            dimenet.triplets(edge_index, num_nodes=3)
    except ImportError:
        return False
    return True


def molecules() -> tuple[str, MoleculeSet]:
    """QM9 where it is prepared, else made-up molecules of its sizes; with the name of the set."""
    try:
        return "qm9", QM9().molecules
    except FileNotFoundError:
        return "made-up", made_up(256)


def made_up(n: int) -> MoleculeSet:
    """Molecules of 9 to 27 atoms on a jittered grid, with random labels."""
    generator = torch.Generator().manual_seed(SEED)
    size = torch.randint(9, 28, (n,), generator=generator)
    ptr = torch.cat([size.new_zeros(1), size.cumsum(0)])
    grid = torch.cartesian_prod(*[1.4 * torch.arange(3.0)] * 3)
    pos = torch.cat([grid[:s] for s in size.tolist()])
    pos = pos + 0.2 * torch.rand(pos.shape, generator=generator)
    elements = torch.tensor([1, 6, 7, 8, 9], dtype=torch.uint8)
    z = elements[torch.randint(5, (len(pos),), generator=generator)]
    y = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    return MoleculeSet(z, pos, ptr, y, torch.arange(n), ("u0",))


@functools.cache
def _built(model: str) -> tuple[nn.Module, nn.Module]:
    """Both sides with the same weights; PyG's DimeNets take seconds to derive their basis."""
    torch.manual_seed(SEED)
    ours = build(model, FIELDS[model])
    if model != "schnet":
        copied = {"dimenet": pyg_dimenet, "dimenet_pp": pyg_dimenet_pp}[model]
        return ours, copied(ours)  # type: ignore[operator]
    nothing = radius_graph(torch.zeros(0, 3), 1.0)  # each case sets its own edges
    return ours, pyg_schnet(ours, nothing)  # type: ignore[arg-type]


class Case:
    """One model and one batch on both sides.

    Args:
        model: its name.
        source: where the molecules come from.
        batch_size: how many.
        device: where to compute.
    """

    def __init__(
        self, model: str, source: MoleculeSet, batch_size: int, device: torch.device
    ) -> None:
        torch.manual_seed(SEED)
        self.model = model
        self.device = device
        self.rows = torch.randperm(len(source))[:batch_size]
        batch = source.batch(self.rows)
        self.source = source
        self.inputs = [x.to(device) for x in (batch.z, batch.pos, batch.batch)]
        self.labels = torch.randn(batch_size, 1).to(device)
        # A trained step changes weights: each case starts from a fresh copy.
        ours, theirs = (side.to(device) for side in copy.deepcopy(_built(model)))
        self.graph: Graph = radius_graph(self.inputs[1], ours.cutoff, self.inputs[2])
        self.finds_edges = has_extensions(model)
        if model == "schnet":
            theirs.interaction_graph = (
                RadiusInteractionGraph(ours.cutoff) if self.finds_edges else self._given_edges
            )
        self.sides = {"molgeo": ours, "pyg": theirs}
        self.optimizers = {
            name: torch.optim.AdamW(side.parameters(), lr=LEARNING_RATE, fused=True)
            for name, side in self.sides.items()
        }

    def _given_edges(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        row, col = self.edge_index
        return self.edge_index, (pos[row] - pos[col]).norm(dim=-1)

    @cached_property
    def edge_index(self) -> Tensor:
        """Edges sorted by their target, as PyG itself would order them."""
        return torch.stack([self.graph.target, self.graph.source])

    @contextmanager
    def given_edges(self) -> Iterator[None]:
        """Give PyG's DimeNets their edges and triplets where they cannot find them."""
        if self.finds_edges or self.model == "schnet":
            yield
            return
        j, i = self.edge_index
        # Sorted by target, an edge has the number that its reverse has in our graph.
        kj, ji = (self.graph.reverse[edge] for edge in triplets(self.graph))
        ji, order = ji.sort(stable=True)
        kj = kj[order]
        found = (i, j, i[ji], j[ji], j[kj], kj, ji)
        where = "torch_geometric.nn.models.dimenet"
        with (
            mock.patch(f"{where}.radius_graph", return_value=self.edge_index),
            mock.patch(f"{where}.triplets", return_value=found),
        ):
            yield

    def infer(self, side: str) -> Tensor:
        """One forward pass without gradients, (molecules, 1)."""
        with torch.no_grad():
            return self.sides[side](*self.inputs)  # type: ignore[no-any-return]

    def train(self, side: str) -> None:
        """One training step."""
        self.gradients(side)
        self.optimizers[side].step()

    def gradients(self, side: str) -> Tensor:
        """Forward, L1 loss and backward; returns the loss."""
        self.optimizers[side].zero_grad()
        loss = (self.sides[side](*self.inputs) - self.labels).abs().mean()
        loss.backward()
        return loss.detach()

    def load(self) -> Any:
        """What the loader does for each training step: cut the batch out of the flat tensors."""
        return self.source.batch(self.rows)

    def differences(self) -> dict[str, float]:
        """Largest relative difference of results, and of the norm of all gradients."""
        ours, theirs = self.infer("molgeo"), self.infer("pyg")
        output = (ours - theirs).abs().max() / theirs.abs().max()
        norms = []
        for side in ("molgeo", "pyg"):
            self.gradients(side)
            gradients = [p.grad for p in self.sides[side].parameters() if p.grad is not None]
            norms.append(torch.nn.utils.get_total_norm(gradients).item())
        return {"output": output.item(), "gradient": abs(norms[0] / norms[1] - 1.0)}
