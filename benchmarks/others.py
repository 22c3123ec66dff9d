"""molgeo's SchNet beside SchNetPack's and TorchMD-Net's graph network, of the same sizes.

    python benchmarks/others.py --batches 32

Their weights are their own, so that results need not agree: the numbers of parameters and edges are
printed instead. A package that is not installed, or does not run here, is named and left out.
"""

from __future__ import annotations

import argparse
import json
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import Quartiles, Step, alternate, peak_memory
from sides import SEED, molecules
from torch import Tensor, nn

from molgeo import models
from molgeo.graph import Graph, radius_graph

Energy = Callable[[Tensor], Tensor]
HEADER = (
    "| package | mode | batch | parameters | edges | ms | ratio to molgeo | peak MB |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|"
)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    name, source = molecules()
    report: dict[str, Any] = {"data": name, "torch": torch.__version__, "rows": [], "skipped": {}}
    print(HEADER)
    for n in options.batches:
        torch.manual_seed(SEED)
        data = source.batch(torch.randperm(len(source))[:n])
        z, pos, batch = (x.to(device) for x in (data.z, data.pos, data.batch))
        ours = models.build("schnet").to(device)
        graph = radius_graph(pos, ours.cutoff, batch)
        sides: dict[str, tuple[nn.Module, Energy]] = {"molgeo": (ours, _of(ours, z, batch))}
        for package, make in PACKAGES.items():
            try:
                side = make(z, batch, graph, n)
                side[1](pos)  # what cannot run is found here
                sides[package] = side
            except Exception as error:
                report["skipped"][package] = f"{type(error).__name__}: {error}"
        report["rows"] += _measure(sides, pos, graph, n, options)
    for package, reason in report["skipped"].items():
        print(f"{package}: skipped, {reason}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _of(ours: nn.Module, z: Tensor, batch: Tensor) -> Energy:
    return lambda pos: ours(z, pos, batch)


def schnetpack(z: Tensor, batch: Tensor, graph: Graph, n: int) -> tuple[nn.Module, Energy]:
    """SchNetPack's SchNet with its atomwise output, given its edges."""
    import torch.utils.data.dataloader as dataloader

    # SchNetPack 2.1 imports a name that newer releases of PyTorch no longer have.
    if not hasattr(dataloader, "T_co"):
        dataloader.T_co = typing.TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    import schnetpack as spk
    from schnetpack.representation import SchNet

    net = SchNet(128, 6, spk.nn.GaussianRBF(50, 10.0), spk.nn.CosineCutoff(10.0))
    atomwise = spk.atomistic.Atomwise(n_in=128, output_key="energy")
    side = nn.ModuleList([net, atomwise]).to(z.device)
    j, i = graph.target, graph.source  # sorted by their target i

    def energy(pos: Tensor) -> Tensor:
        inputs = {"_atomic_numbers": z, "_idx_i": i, "_idx_j": j, "_idx_m": batch}
        inputs |= {"_Rij": pos[j] - pos[i], "_n_atoms": graph.atoms_per_molecule}
        out: Tensor = atomwise(net(inputs))["energy"]
        return out

    return side, energy


def torchmd_net(z: Tensor, batch: Tensor, graph: Graph, n: int) -> tuple[nn.Module, Energy]:
    """TorchMD-Net's graph network, a SchNet with an embedding of neighbours; finds its edges."""
    from torchmdnet.models.model import create_model

    side = create_model(
        {
            "model": "graph-network",
            "embedding_dimension": 128,
            "num_layers": 6,
            "num_rbf": 50,
            "rbf_type": "gauss",
            "trainable_rbf": False,
            "activation": "silu",
            "neighbor_embedding": True,
            "cutoff_lower": 0.0,
            "cutoff_upper": 10.0,
            "max_z": 100,
            # Of each atom, itself included.
            "max_num_neighbors": int(graph.degree.max()) + 1,
            "aggr": "add",
            "num_filters": 128,
            "derivative": False,
            "output_model": "Scalar",
            "reduce_op": "add",
            "precision": 32,
            "atom_filter": -1,
            "prior_model": None,
            "box_vecs": None,
            "equivariance_invariance_group": "O(3)",
            "static_shapes": False,
            "check_errors": True,
            "vector_cutoff": False,
            "output_mlp_num_layers": 0,
        }
    ).to(z.device)

    def energy(pos: Tensor) -> Tensor:
        out: Tensor = side(z, pos, batch)[0]
        return out

    return side, energy


PACKAGES = {"schnetpack": schnetpack, "torchmd-net": torchmd_net}


def _measure(
    sides: dict[str, tuple[nn.Module, Energy]],
    pos: Tensor,
    graph: Graph,
    n: int,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    rows = []
    for mode in ("infer", "forces"):
        steps = {p: _step(energy, pos, mode) for p, (_, energy) in sides.items()}
        times = alternate(steps, options.repeats, pos.device)
        for package, (side, _) in sides.items():
            pairs = zip(times["molgeo"], times[package], strict=True)
            row = {
                "package": package,
                "mode": mode,
                "batch": n,
                "parameters": sum(p.numel() for p in side.parameters()),
                "edges": graph.n_edges,
                "ms": 1e3 * Quartiles.of(times[package]).median,
                "ratio": Quartiles.of([b / a for a, b in pairs]).median,
                "peak_mb": peak_memory(steps[package], pos.device) / 1e6,
            }
            rows.append(row)
            print(
                f"| {package} | {mode} | {n} | {row['parameters']:,} | {row['edges']:,} "
                f"| {row['ms']:.2f} | {row['ratio']:.2f} | {row['peak_mb']:.1f} |",
                flush=True,
            )
    return rows


def _step(energy: Energy, pos: Tensor, mode: str) -> Step:
    def infer() -> None:
        with torch.no_grad():
            energy(pos)

    def forces() -> None:
        leaf = pos.detach().requires_grad_()
        torch.autograd.grad(energy(leaf).sum(), leaf)

    return infer if mode == "infer" else forces


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="molgeo's SchNet beside those of other packages")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
