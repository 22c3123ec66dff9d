"""PyG's models with molgeo's weights and edges, as oracles for tests and benchmarks.

PyG finds edges and triplets by compiled extensions and truncates neighbourhoods; here it is given
molgeo's, so that both sides do the same work on the same graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.graph.triplets import triplets
from molgeo.models.dimenet import DimeNet
from molgeo.models.dimenet_pp import DimeNetPlusPlus
from molgeo.models.schnet import SchNet


def pyg_schnet(ours: SchNet, graph: Graph) -> nn.Module:
    """PyG's SchNet with the weights of ``ours``, bound to one graph."""
    from torch_geometric.nn import SchNet as PyGSchNet

    def interaction_graph(pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        row, col = graph.edge_index
        return graph.edge_index, (pos[row] - pos[col]).norm(dim=-1)

    c = ours.config
    theirs = PyGSchNet(
        hidden_channels=c.n_features,
        num_filters=c.n_filters,
        num_interactions=c.n_blocks,
        num_gaussians=c.n_gaussians,
        cutoff=c.cutoff,
        interaction_graph=interaction_graph,
    )
    pairs: list[tuple[nn.Module, nn.Module]] = [(theirs.embedding, ours.embedding)]
    for block, mine in zip(theirs.interactions, ours.blocks, strict=True):
        pairs += [
            (block.mlp[0], mine.filter_in),
            (block.mlp[2], mine.filter_out),
            (block.conv.lin1, mine.before),
            (block.conv.lin2, mine.after),
            (block.lin, mine.update),
        ]
    pairs += [(theirs.lin1, ours.readout[0]), (theirs.lin2, ours.readout[2])]
    return _copy(pairs, theirs, ours)


def pyg_dimenet(ours: DimeNet) -> nn.Module:
    """PyG's DimeNet with the weights of ``ours``; call it inside `pyg_edges`.

    PyG takes the angle as ``angle="reference"`` does.
    """
    from torch_geometric.nn import DimeNet as PyGDimeNet

    theirs = _build_dimenet(PyGDimeNet, ours, num_bilinear=ours.config.n_bilinear)
    pairs = _shared_weights(theirs, ours)
    for block, mine in zip(theirs.interaction_blocks, ours.interactions, strict=True):
        pairs += [(block.lin_rbf, mine.rbf), (block.lin_sbf, mine.sbf)]
        block.W.data.copy_(mine.bilinear.data)
    return _copy(pairs, theirs, ours)


def pyg_dimenet_pp(ours: DimeNetPlusPlus) -> nn.Module:
    """PyG's DimeNet++ with the weights of ``ours``; call it inside `pyg_edges`."""
    from torch_geometric.nn import DimeNetPlusPlus as PyGDimeNetPlusPlus

    c = ours.config
    theirs = _build_dimenet(
        PyGDimeNetPlusPlus,
        ours,
        int_emb_size=c.int_emb,
        basis_emb_size=c.basis_emb,
        out_emb_channels=c.out_emb,
    )
    pairs = _shared_weights(theirs, ours)
    for block, mine in zip(theirs.interaction_blocks, ours.interactions, strict=True):
        pairs += [
            (block.lin_rbf1, mine.rbf1),
            (block.lin_rbf2, mine.rbf2),
            (block.lin_sbf1, mine.sbf1),
            (block.lin_sbf2, mine.sbf2),
            (block.lin_down, mine.down),
            (block.lin_up, mine.up),
        ]
    for block, mine in zip(theirs.output_blocks, ours.outputs, strict=True):
        pairs += [(block.lin_up, mine.up)]
    return _copy(pairs, theirs, ours)


def _build_dimenet(cls: type[nn.Module], ours: DimeNet | DimeNetPlusPlus, **own: int) -> nn.Module:
    """PyG's model of the same size, with the arguments that only it has."""
    c = ours.config
    # PyG rounds the zeros of the spherical Bessel functions to float32, which costs 1e-6, and has
    # SymPy simplify each function, which costs twelve seconds.
    with mock.patch("torch_geometric.nn.models.dimenet_utils.bessel_basis", _bessel_basis):
        return cls(
            hidden_channels=c.hidden,
            out_channels=c.n_out,
            num_blocks=c.n_blocks,
            num_spherical=c.n_spherical,
            num_radial=c.n_radial,
            cutoff=c.cutoff,
            envelope_exponent=c.envelope_exponent,
            num_before_skip=c.n_before_skip,
            num_after_skip=c.n_after_skip,
            num_output_layers=c.n_output_layers,
            **own,
        )


def _shared_weights(
    theirs: Any, ours: DimeNet | DimeNetPlusPlus
) -> list[tuple[nn.Module, nn.Module]]:
    """Layers that DimeNet and DimeNet++ have in common; copies the radial frequencies."""
    theirs.rbf.freq.data.copy_(ours.radial.frequencies)
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (theirs.emb.emb, ours.embedding.elements),
        (theirs.emb.lin_rbf, ours.embedding.rbf),
        (theirs.emb.lin, ours.embedding.dense),
    ]
    for block, mine in zip(theirs.interaction_blocks, ours.interactions, strict=True):
        pairs += [(block.lin_kj, mine.kj), (block.lin_ji, mine.ji), (block.lin, mine.skip)]
        residuals = [*block.layers_before_skip, *block.layers_after_skip]
        for layer, own in zip(residuals, [*mine.before_skip, *mine.after_skip], strict=True):
            pairs += [(layer.lin1, own.dense1), (layer.lin2, own.dense2)]
    for block, mine in zip(theirs.output_blocks, ours.outputs, strict=True):
        pairs += [(block.lin_rbf, mine.rbf), (block.lin, mine.last)]
        pairs += list(zip(block.lins, mine.layers, strict=True))
    return pairs


@contextmanager
def pyg_edges(graph: Graph) -> Iterator[None]:
    """Make PyG's DimeNet and DimeNet++ use the edges of ``graph`` and the triplets over them."""
    j, i = graph.edge_index
    edge_kj, edge_ji = triplets(graph)
    found = (i, j, i[edge_ji], j[edge_ji], j[edge_kj], edge_kj, edge_ji)
    where = "torch_geometric.nn.models.dimenet"

    def radius_graph(*_: Any, **__: Any) -> Tensor:
        return graph.edge_index

    def given_triplets(*_: Any, **__: Any) -> tuple[Tensor, ...]:
        return found

    with (
        mock.patch(f"{where}.radius_graph", radius_graph),
        mock.patch(f"{where}.triplets", given_triplets),
    ):
        yield


def _bessel_basis(n: int, k: int) -> list[list[Any]]:
    """``√2/|j_{l+1}(z)| j_l(z x)`` as SymPy's closed forms, with zeros z by SciPy."""
    import sympy
    from scipy.optimize import brentq
    from scipy.special import spherical_jn

    x = sympy.symbols("x")
    bracket = np.arange(1, k + n) * np.pi
    functions = []
    for l in range(n):
        if l > 0:
            j_l = partial(spherical_jn, l)
            bracket = np.array([brentq(j_l, a, b, xtol=1e-14) for a, b in pairwise(bracket)])
        form = sympy.expand_func(sympy.jn(l, x))
        norm = np.sqrt(2) / abs(spherical_jn(l + 1, bracket[:k]))
        functions.append(
            [float(c) * form.subs(x, float(z) * x) for c, z in zip(norm, bracket[:k], strict=True)]
        )
    return functions


def _copy(
    pairs: list[tuple[nn.Module, nn.Module]], theirs: nn.Module, ours: nn.Module
) -> nn.Module:
    """Copy the parameters of each second module to the first; return ``theirs`` in ours' dtype."""
    with torch.no_grad():
        for target, source in pairs:
            for name, parameter in target.named_parameters():
                parameter.copy_(source.get_parameter(name))
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    parameter = next(ours.parameters())
    return theirs.to(parameter.device, parameter.dtype)


with warnings.catch_warnings():
    # Importing PyG warns of what it would deprecate and of extensions that are not installed.
    warnings.simplefilter("ignore")
    import torch_geometric.nn  # noqa: F401
