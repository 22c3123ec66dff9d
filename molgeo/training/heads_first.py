"""Heads alone, fitted to the features of a backbone that stands still.

Fresh heads send gradients of no meaning into a backbone that knows molecules. So a run that starts
from a checkpoint may fit them first. The features of each atom are computed once, so that an epoch
costs a small part of what it costs with the backbone.
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor

from molgeo.data.datamodule import FlatDataModule
from molgeo.data.molecules import MoleculeSet
from molgeo.graph import Graph
from molgeo.predictor import Predictor
from molgeo.training.config import RunConfig
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import optimiser_of, schedule_of
from molgeo.training.references import without_edges

MOST_KEPT: Final = 20_000
"""Training molecules whose features are kept, some 0.3 GB."""

AT_ONCE: Final = 256
"""Molecules whose features are computed together."""

PATIENCE: Final = 20
"""Epochs without improvement after which to stop."""


def fit_heads(predictor: Predictor, data: FlatDataModule, config: RunConfig, epochs: int) -> Tensor:
    """Fit a predictor's heads to the training part; those of the best validation stay.

    Args:
        predictor: with its references fitted; its heads change in place.
        data: of the run, set up.
        config: of the run: its optimiser, rate, seed and size of batches.
        epochs: at most.

    Returns:
        (properties,) mean absolute errors of the validation part, in units of `Predictor.scale`.
    """
    train, validation = data.parts.train[:MOST_KEPT], data.parts.validation
    known, rows = _features(predictor, data.molecules, torch.cat([train, validation]))
    place = {row: k for k, row in enumerate(rows.tolist())}
    places = [torch.tensor([place[row] for row in part.tolist()]) for part in (train, validation)]
    module = PropertyTraining(predictor, config)
    steps = max(1, len(train) // config.batch_size)
    settings = config.model_copy(update={"warmup_steps": min(config.warmup_steps, steps)})
    optimiser = optimiser_of(predictor.heads, settings)
    schedule = schedule_of(optimiser, settings, epochs * steps)
    generator = torch.Generator().manual_seed(config.seed)
    best, errors, state, since = float("inf"), torch.zeros(0), {}, 0
    for _ in range(epochs):
        order = places[0][torch.randperm(len(train), generator=generator)]
        for chunk in order.split(config.batch_size)[:steps]:
            optimiser.zero_grad()
            loss, _ = module.compared(*known.batch(predictor, chunk))
            loss.backward()
            if config.clip_norm:
                torch.nn.utils.clip_grad_norm_(predictor.heads.parameters(), config.clip_norm)
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            of_each = [
                module.compared(*known.batch(predictor, chunk))[1].double()
                for chunk in places[1].split(AT_ONCE)
            ]
        total, n = torch.cat(of_each, dim=1).sum(1)
        found = total / n.clamp(min=1)
        since += 1
        if (score := float((found * module.loss_weights).sum())) < best:
            best, errors, since = score, found, 0
            state = copy.deepcopy(predictor.heads.state_dict())
        if since >= PATIENCE:
            break
    predictor.heads.load_state_dict(state)
    return errors


class _Known:
    """Features of molecules, from which batches are gathered."""

    def __init__(self, molecules: MoleculeSet, features: Tensor, rows: Tensor) -> None:
        atoms, _, ptr = molecules.atoms(rows)
        self.z, self.pos = molecules.z[atoms].long(), molecules.pos[atoms]
        self.y, self.ptr, self.features = molecules.y[rows], ptr, features

    def batch(
        self, predictor: Predictor, places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Graph]:
        """Outputs and labels of some molecules, their atoms, and the graph that has no edges."""
        size = self.ptr.diff()[places]
        batch = torch.repeat_interleave(torch.arange(len(places)), size)
        first = self.ptr[places] - size.cumsum(0) + size
        atoms = torch.arange(len(batch)) + first[batch]
        z, pos, graph = self.z[atoms], self.pos[atoms], without_edges(batch, len(places))
        return predictor.heads(self.features[atoms], z, pos, graph), self.y[places], z, pos, graph


def _features(predictor: Predictor, molecules: MoleculeSet, rows: Tensor) -> tuple[_Known, Tensor]:
    """What a backbone says of molecules."""
    found = []
    with torch.no_grad():
        for chunk in rows.split(AT_ONCE):
            batch = molecules.batch(chunk)
            graph = batch.graph(predictor.cutoff)
            found.append(predictor.backbone.atom_features(batch.z, batch.pos, graph))
    return _Known(molecules, torch.cat(found), rows), rows
