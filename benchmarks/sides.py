"""The two sides: molgeo's model and PyG's with the same weights, on the same molecules."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molgeo import models
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.dataset import QM9
from molgeo.graph import Graph, radius_graph

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import pyg_weights
from pyg_graphs import Finder, finder, found_by_pyg, given_by_us

MODELS = tuple(m for m in ("schnet", "dimenet", "dimenet_pp") if m in models.names())
MODES = ("infer", "train", "forces", "force_train", "md")
FIELDS: dict[str, dict[str, Any]] = {
    "schnet": {},
    # Published last layers start at zero, and zeros always agree.
    "dimenet": {"output_init": "glorot_orthogonal"},
    "dimenet_pp": {"output_init": "glorot_orthogonal"},
}
"""What differs from the published models."""
PARITY: dict[str, dict[str, Any]] = {"dimenet": {"angle": "reference"}}
"""What of a model must differ further for its results to be PyG's: it is compared so, with the same
weights, and timed without. PyG's DimeNet takes its angle at atom i, as the published code does."""
SEED = 42
LEARNING_RATE = 1e-5
"""Small, so that both sides stay near the weights whose results were compared."""
FORCE_WEIGHT = 100.0
"""Of the forces in the loss, of the order that force training uses."""


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
def built(
    model: str, fields: tuple[tuple[str, Any], ...]
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Our model, the same as PyG defines it (mostly the same object), and PyG's, or ours again."""
    torch.manual_seed(SEED)
    ours = models.build(model, dict(fields))
    same = ours
    if model in PARITY:
        same = models.build(model, {**dict(fields), **PARITY[model]})
        same.load_state_dict(ours.state_dict())
    if model not in MODELS:  # PyG has none
        return ours, same, ours
    if model == "schnet":
        nothing = radius_graph(torch.zeros(0, 3), 1.0)  # each case sets its own edges
        return ours, same, pyg_weights.pyg_schnet(ours, nothing)  # type: ignore[arg-type]
    copied: Callable[[nn.Module], nn.Module] = getattr(pyg_weights, f"pyg_{model}")
    return ours, same, copied(same)


class Case:
    """One model and one batch on both sides.

    Args:
        model: its name.
        source: where the molecules come from.
        batch_size: how many.
        device: where to compute.

    Attributes:
        sides: the models that are timed, by ``molgeo`` and ``pyg``.
        compared: those whose results must agree; the same but for `PARITY`.
        found: how PyG finds its edges.
    """

    def __init__(
        self, model: str, source: MoleculeSet, batch_size: int, device: torch.device
    ) -> None:
        torch.manual_seed(SEED)
        self.model = model
        self.device = device
        self.source = source
        self.rows = torch.randperm(len(source))[:batch_size]
        batch = source.batch(self.rows)
        self.z, self.pos, self.batch = (x.to(device) for x in (batch.z, batch.pos, batch.batch))
        self.energies = torch.randn(batch_size, 1).to(device)
        self.labels = torch.randn(len(batch.z), 3).to(device)
        # A trained step changes weights: each case starts from a fresh copy.
        ours, same, theirs = (
            side.to(device)
            for side in copy.deepcopy(built(model, tuple(FIELDS.get(model, {}).items())))
        )
        self.graph: Graph = radius_graph(self.pos, ours.cutoff, self.batch)
        self.found: Finder = finder(model)
        self.sides = {"molgeo": ours, "pyg": theirs}
        self.compared = {"molgeo": same, "pyg": theirs}
        self.optimizers = {
            name: torch.optim.AdamW(side.parameters(), lr=LEARNING_RATE, fused=True)
            for name, side in self.sides.items()
        }

    def pyg_edges(self) -> AbstractContextManager[None]:
        """Give PyG its edges, or let it find them; all of PyG's steps run inside."""
        if self.found == "given":
            return given_by_us(self.model, self.sides["pyg"], self.graph)
        most = int(self.graph.degree.max()) + 1
        return found_by_pyg(self.model, self.sides["pyg"], most)

    def infer(self, side: str) -> Tensor:
        """One forward pass without gradients, (molecules, 1)."""
        with torch.no_grad():
            return _energy(self.sides[side], self)

    def train(self, side: str) -> None:
        """One training step on energies."""
        self.optimizers[side].zero_grad()
        energy_loss(self.sides[side], self).backward()
        self.optimizers[side].step()

    def forces(self, side: str) -> tuple[Tensor, Tensor]:
        """Energies (molecules, 1) and forces (atoms, 3)."""
        return energy_and_forces(self.sides[side], self)

    def force_train(self, side: str) -> None:
        """One training step on energies and forces."""
        self.optimizers[side].zero_grad()
        force_loss(self.sides[side], self).backward()
        self.optimizers[side].step()

    def md(self, side: str) -> tuple[Tensor, Tensor]:
        """What a time step of molecular dynamics takes."""
        return md_step(self, side)

    def load(self) -> Any:
        """What the loader does for each training step: cut the batch out of the flat tensors."""
        return self.source.batch(self.rows)

    def differences(self, mode: str) -> dict[str, float]:
        """Relative differences of what a mode computes: results, or the norm of all gradients."""
        ours, theirs = (self._result(self.compared[side], mode) for side in ("molgeo", "pyg"))
        names = {"infer": ["energy"], "forces": ["energy", "forces"], "md": ["energy", "forces"]}
        found = zip(names.get(mode, ["gradient"]), ours, theirs, strict=True)
        return {name: float((a - b).abs().max() / b.abs().max()) for name, a, b in found}

    def doubled(self) -> Case:
        """The same case in float64, for results that float32's rounding keeps apart."""
        case = copy.copy(self)
        case.pos, case.energies, case.labels = (
            x.double() for x in (self.pos, self.energies, self.labels)
        )
        case.compared = {
            side: copy.deepcopy(model).double() for side, model in self.compared.items()
        }
        return case

    def _result(self, model: nn.Module, mode: str) -> tuple[Tensor, ...]:
        if mode == "infer":
            return (_energy(model, self).detach(),)
        if mode in ("forces", "md"):
            return energy_and_forces(model, self)
        loss = energy_loss if mode == "train" else force_loss
        model.zero_grad()
        loss(model, self).backward()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in model.parameters() if p.grad is not None]
        )
        model.zero_grad()
        return (norm,)


def md_step(case: Case, side: str) -> tuple[Tensor, Tensor]:
    """Energy and forces of one molecule, as an integrator asks for them.

    molgeo's side keeps its graph between steps, as a simulation does until atoms have moved by
    half the skin; here atoms do not move. PyG's model has no such argument and finds its edges
    each time, where it can.
    """
    if side == "pyg":
        return case.forces(side)
    model = case.sides[side]
    return energy_and_forces(lambda z, pos, batch: model(z, pos, batch, case.graph), case)


def energy_and_forces(
    model: Callable[..., Tensor], case: Case, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """Energies (molecules, 1) and forces (atoms, 3), with parameters that require gradients."""
    pos = case.pos.detach().requires_grad_()
    energy = model(case.z, pos, case.batch)
    (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=create_graph)
    return (energy if create_graph else energy.detach()), -gradient


def energy_loss(model: nn.Module, case: Case) -> Tensor:
    """Mean absolute error of the energies."""
    return (_energy(model, case) - case.energies).abs().mean()


def force_loss(model: nn.Module, case: Case) -> Tensor:
    """Mean absolute errors of energies and forces."""
    energy, forces = energy_and_forces(model, case, create_graph=True)
    error = (energy - case.energies).abs().mean()
    return error + FORCE_WEIGHT * (forces - case.labels).abs().mean()


def _energy(model: nn.Module, case: Case) -> Tensor:
    energy: Tensor = model(case.z, case.pos, case.batch)
    return energy
