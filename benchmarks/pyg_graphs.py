"""Where PyG's models get their edges and triplets from, and what they would take in memory.

PyG finds neighbours with compiled extensions: with pyg-lib, or, as its releases up to 2.7 did, with
torch-cluster; its triplets need torch-sparse. Where they are missing it is given edges and
triplets that were made outside the timed region.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal
from unittest import mock

import torch
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.graph.triplets import triplets

Finder = Literal["pyg-lib", "torch-cluster", "given"]

DIMENET = "torch_geometric.nn.models.dimenet"
SCHNET = "torch_geometric.nn.models.schnet"

PEAK_FLOATS = {
    "schnet": {
        "infer": (0, 460),
        "train": (0, 3700),
        "forces": (0, 4500),
        "force_train": (0, 10_100),
    },
    "dimenet": {
        "infer": (1400, 0),
        "train": (10_500, 0),
        "forces": (10_600, 0),
        "force_train": (20_800, 0),
    },
    "dimenet_pp": {
        "infer": (200, 1000),
        "train": (1000, 13_000),
        "forces": (1050, 14_000),
        "force_train": (2200, 30_000),
    },
}
"""What PyG holds at its peak: float32 numbers a triplet and an edge, fitted to measured peaks."""


@functools.cache
def finder(model: str) -> Finder:
    """How PyG finds this model's edges here."""
    from torch_geometric.nn.models import dimenet

    if model != "schnet":
        try:
            dimenet.triplets(torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
        except ImportError:
            return "given"
    try:
        dimenet.radius_graph(torch.eye(3), r=2.0)
    except ImportError:
        try:
            import torch_cluster  # noqa: F401
        except ImportError:
            return "given"
        return "torch-cluster"
    return "pyg-lib"


@contextmanager
def found_by_pyg(model: str, theirs: nn.Module, max_neighbours: int) -> Iterator[None]:
    """Let a model find its edges itself, all of them.

    Args:
        model: its name.
        theirs: PyG's model, whose limit of neighbours is raised.
        max_neighbours: the most that an atom has.
    """
    from torch_geometric.nn.models.schnet import RadiusInteractionGraph

    with ExitStack() as stack:
        if finder(model) == "torch-cluster":
            from torch_cluster import radius_graph

            for where in (DIMENET, SCHNET):
                stack.enter_context(mock.patch(f"{where}.radius_graph", radius_graph))
        if model == "schnet":
            theirs.interaction_graph = RadiusInteractionGraph(theirs.cutoff, max_neighbours)
        else:
            theirs.max_num_neighbors = max_neighbours
        yield


@contextmanager
def given_by_us(model: str, theirs: nn.Module, graph: Graph) -> Iterator[None]:
    """Give a model the edges of a graph (and the triplets over them), sorted as PyG sorts."""
    # Sorted by target, an edge has the number that its reverse has in our graph.
    edge_index = torch.stack([graph.target, graph.source])
    if model == "schnet":

        def interaction_graph(pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
            delta = pos[edge_index[0]] - pos[edge_index[1]]
            if graph.offset is not None:
                delta = delta - graph.offset[graph.reverse]
            return edge_index, delta.norm(dim=-1)

        theirs.interaction_graph = interaction_graph
        yield
        return
    found = given_triplets(graph)
    with (
        mock.patch(f"{DIMENET}.radius_graph", return_value=edge_index),
        mock.patch(f"{DIMENET}.triplets", return_value=found),
    ):
        yield


def given_triplets(graph: Graph) -> tuple[Tensor, ...]:
    """What PyG's ``triplets`` returns: i, j of each edge; i, j, k, k→j and j→i of each triplet."""
    j, i = graph.target, graph.source
    kj, ji = (graph.reverse[edge] for edge in triplets(graph))
    ji, order = ji.sort(stable=True)
    kj = kj[order]
    return i, j, i[ji], j[ji], j[kj], kj, ji


def periodic(theirs: Any, z: Tensor, pos: Tensor, graph: Graph, found: Any) -> Tensor:
    """Energy of one periodic system by PyG's DimeNet++, which has no periodic boundaries itself.

    Its own layers in the order of its own ``forward``; only the displacements cross the boundary.

    Args:
        theirs: PyG's DimeNet++.
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
        graph: the edges, with their lattice offsets.
        found: `given_triplets` of the graph.
    """
    i, j, _, _, _, kj, ji = found
    delta = pos[i] - pos[j]
    if graph.offset is not None:
        delta = delta + graph.offset[graph.reverse]
    distance = delta.pow(2).sum(-1).sqrt()
    cosine = (delta[ji] * delta[kj]).sum(-1)
    sine = torch.linalg.cross(delta[ji], delta[kj]).norm(dim=-1)
    rbf = theirs.rbf(distance)
    sbf = theirs.sbf(distance, torch.atan2(sine, cosine), kj)
    x = theirs.emb(z, rbf, i, j)
    out = theirs.output_blocks[0](x, rbf, i, num_nodes=len(z))
    for interaction, output in zip(
        theirs.interaction_blocks, theirs.output_blocks[1:], strict=True
    ):
        x = interaction(x, rbf, sbf, kj, ji)
        out = out + output(x, rbf, i, num_nodes=len(z))
    return out.sum(0)


def n_triplets(graph: Graph) -> int:
    """Triplets k→j→i of a graph, without forming them."""
    return int((graph.degree * (graph.degree - 1)).sum())


def estimated_bytes(model: str, mode: str, graph: Graph) -> int:
    """What PyG would take at its peak, to know beforehand what does not fit."""
    mode = "forces" if mode == "md" else mode
    a_triplet, an_edge = PEAK_FLOATS[model][mode]
    return 4 * (a_triplet * n_triplets(graph) + an_edge * graph.n_edges)


@contextmanager
def found_in_pytorch(model: str, theirs: nn.Module) -> Iterator[None]:
    """Let a model find its edges (and triplets) by PyTorch's operators alone, at each call."""
    if model == "schnet":
        before = theirs.interaction_graph

        def interaction_graph(pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
            j, i = edge_index = pytorch_edges(pos, theirs.cutoff, batch)  # type: ignore[arg-type]
            return edge_index, (pos[j] - pos[i]).norm(dim=-1)

        theirs.interaction_graph = interaction_graph
        yield
        theirs.interaction_graph = before
        return
    with (
        mock.patch(f"{DIMENET}.radius_graph", pytorch_edges),
        mock.patch(f"{DIMENET}.triplets", pytorch_triplets),
    ):
        yield


def pytorch_edges(pos: Tensor, r: float, batch: Tensor, **_: Any) -> Tensor:
    """(2, edges) ``[j, i]`` of all pairs of a batch within a radius, sorted by i."""
    pos = pos.detach()
    close = torch.cdist(pos, pos, compute_mode="donot_use_mm_for_euclid_dist") < r
    close &= batch[:, None] == batch
    i, j = close.fill_diagonal_(False).nonzero(as_tuple=True)
    return torch.stack([j, i])


def pytorch_triplets(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, ...]:
    """As PyG's ``triplets``, of edges that are sorted by their target."""
    j, i = edge_index
    degree = torch.bincount(i, minlength=num_nodes)
    first = degree.cumsum(0) - degree  # of the edges k→j of each atom j
    ji = torch.arange(len(i), device=i.device).repeat_interleave(degree[j])
    begin = (degree[j].cumsum(0) - degree[j])[ji]
    kj = first[j[ji]] + torch.arange(len(ji), device=i.device) - begin
    kept = j[kj] != i[ji]
    ji, kj = ji[kept], kj[kept]
    return i, j, i[ji], j[ji], j[kj], kj, ji
