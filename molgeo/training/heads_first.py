"""Heads alone, fitted to the features of a backbone that stands still.

Fresh heads send gradients of no meaning into a backbone that knows molecules. So a run that starts
from a checkpoint may fit them first. What the backbone says of each molecule is computed once, so
that an epoch costs a small part of what it costs with the backbone. The number of epochs is fixed:
the validation part decides nothing, so that its errors are those of new molecules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from molgeo.data.datamodule import FlatDataModule
from molgeo.data.molecules import MoleculeSet
from molgeo.graph import Graph
from molgeo.predictor import Predictor
from molgeo.training.config import RunConfig
from molgeo.training.module import PropertyTraining
from molgeo.training.references import without_edges

MOST_KEPT: Final = {True: 200_000, False: 10_000}
"""Whether heads look at moments alone → training molecules of which these, or the features of all
atoms, are kept, in some 1 GB."""

AT_ONCE: Final = 64
"""Molecules whose features are computed together."""

RATE: Final = 1e-3
"""Largest learning rate, a tenth of the way."""

DECAY: Final = 1e-2
"""Of the weights, decoupled from the gradient."""

Told = Callable[[int, float, Tensor], None]
"""Is told the step, the mean loss of the epoch, and the validation part's errors."""


def fit_heads(
    predictor: Predictor,
    data: FlatDataModule,
    config: RunConfig,
    epochs: int,
    told: Told | None = None,
) -> Tensor:
    """Fit a predictor's heads to the training part.

    Args:
        predictor: with its references fitted; its heads change in place.
        data: of the run, set up.
        config: of the run: its seed, size of batches and weights of the loss.
        epochs: how many.
        told: is called after each of them.

    Returns:
        (properties,) mean absolute errors of the validation part, in units of `Predictor.scale`;
        of probabilities the cross-entropy.
    """
    most = MOST_KEPT[not predictor.heads.by_atoms]
    train, validation = data.parts.train[:most], data.parts.validation[:most]
    known = _Known(predictor, data.molecules, torch.cat([train, validation]))
    held_out = torch.arange(len(train), len(train) + len(validation))
    module = PropertyTraining(predictor, config)
    steps = max(1, len(train) // config.batch_size)
    weights = list(predictor.heads.parameters())
    optimiser = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=max(2, epochs * steps), pct_start=0.1
    )
    chances = torch.tensor([one.is_probability for one in predictor.properties])
    generator = torch.Generator().manual_seed(config.seed)
    errors = torch.zeros(len(predictor.properties), dtype=torch.float64)
    for epoch in range(epochs):
        order = torch.randperm(len(train), generator=generator)
        total = 0.0
        for chunk in order.split(config.batch_size)[:steps]:
            _, (own, there) = module.compared(*known.batch(predictor, chunk))
            # Squares, as a mean is what is asked for; entropies as they are.
            losses = torch.where(chances, own, own.square()).sum(0) / there.sum(0).clamp(min=1)
            loss = (losses * module.loss_weights).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) / steps
        if told is not None or epoch == epochs - 1:
            errors = _errors(module, known, predictor, held_out)
        if told is not None:
            told((epoch + 1) * steps, total, errors)
    return errors


@torch.no_grad()
def _errors(
    module: PropertyTraining, known: _Known, predictor: Predictor, places: Tensor
) -> Tensor:
    """(properties,) mean errors of some molecules, zero if there are none."""
    total = torch.zeros(2, len(predictor.properties), dtype=torch.float64)
    for chunk in places.split(AT_ONCE) if len(places) else ():
        _, errors = module.compared(*known.batch(predictor, chunk))
        total += errors.double().sum(1)
    return total[0] / total[1].clamp(min=1)


class _Known:
    """What a backbone says of molecules, from which batches are gathered.

    It is the moments of each molecule if that is all that heads look at, else the features of each
    atom.
    """

    def __init__(self, predictor: Predictor, molecules: MoleculeSet, rows: Tensor) -> None:
        atoms, _, self.ptr = molecules.atoms(rows)
        self.z, self.pos, self.y = (
            molecules.z[atoms].long(),
            molecules.pos[atoms],
            molecules.y[rows],
        )
        heads, found = predictor.heads, []
        self.has_moments = not heads.by_atoms
        with torch.no_grad():
            for chunk in rows.split(AT_ONCE):
                batch = molecules.batch(chunk)
                graph = batch.graph(predictor.cutoff)
                features = predictor.backbone.atom_features(batch.z, batch.pos, graph)
                found.append(heads.moments.raw(features, graph) if self.has_moments else features)
        self.found = torch.cat(found)

    def batch(
        self, predictor: Predictor, places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Graph]:
        """Outputs and labels of some molecules, their atoms, and a graph without edges."""
        size = self.ptr.diff()[places]
        batch = torch.repeat_interleave(torch.arange(len(places)), size)
        first = self.ptr[places] - size.cumsum(0) + size
        atoms = torch.arange(len(batch)) + first[batch]
        z, pos, graph = self.z[atoms], self.pos[atoms], without_edges(batch, len(places))
        if self.has_moments:
            outputs = predictor.heads.of_moments(self.found[places])
        else:
            outputs = predictor.heads(self.found[atoms], z, pos, graph)
        return outputs, self.y[places], z, pos, graph
