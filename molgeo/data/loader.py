"""Batches from flat tensors, in an order that a resumed run repeats exactly."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from molgeo.data.capacity import Ladder
from molgeo.data.molecules import Batch, MoleculeSet


class FlatLoader:
    """Iterate over some molecules in batches.

    The order of an epoch depends on ``seed`` and the epoch alone, and `state_dict` holds the
    place within it, so a run that was killed goes on with the very batches it would have had.

    Args:
        molecules: the data set.
        indices: (n,) int64, which molecules.
        batch_size: molecules per batch (on each process).
        seed: of the shuffling; None keeps the order and the last, smaller batch.
        rank: number of this process.
        world_size: processes that share the molecules; if shuffled, each gets as many batches
            as the others.
        epoch_size: molecules per epoch, if shuffled; successive epochs go on through the same
            order. 0 for all.
        ladder: capacities to which batches are padded, each to the smallest that holds it; one
            that none holds is not padded, and none is if this is None.
        others: (n,) int64, molecules of which each batch has some in place of its own, if shuffled;
            epochs count those of ``indices``.
        n_others: how many of a batch.
    """

    def __init__(
        self,
        molecules: MoleculeSet,
        indices: Tensor,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        epoch_size: int = 0,
        ladder: Ladder | None = None,
        others: Tensor | None = None,
        n_others: int = 0,
    ) -> None:
        self.molecules = molecules
        self.indices = indices
        self.others = others
        self.n_others = n_others
        self.batch_size = batch_size - n_others  # of its own
        batch_size = self.batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.ladder = ladder
        n_batches = max(1, indices.numel() // world_size // batch_size)  # of a shuffled pass
        wanted = -(-epoch_size // world_size // batch_size) or n_batches
        self._epochs_a_pass = max(1, round(n_batches / wanted)) if seed is not None else 1
        self.epoch = 0
        self.next_batch = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        if self.seed is None:
            own = len(range(self.rank, self.indices.numel(), self.world_size))
            return -(-own // self.batch_size)
        own = self.indices.numel() // self.world_size // self.batch_size
        return max(1, own // self._epochs_a_pass)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of this epoch, from its start unless a state was loaded."""
        for indices in self._indices():
            known, capacity = self.molecules.neighbours, None
            if self.ladder is not None and known is not None:
                capacity = self.ladder.of(known.load(indices.numpy()))
            yield self.molecules.batch(indices, capacity)

    def ahead(self, n: int) -> Tensor:
        """Molecules of the next n batches."""
        twin = copy.copy(self)
        found: list[Tensor] = []
        while len(found) < n:
            found += islice(twin._indices(), n - len(found))
        return torch.cat([self.indices[:0], *found])

    def _indices(self) -> Iterator[Tensor]:
        """Molecules of each batch of the rest of this epoch."""
        order = self._order()[self.epoch % self._epochs_a_pass * len(self) * self.batch_size :]
        for number in range(self.next_batch, len(self)):
            step = self.epoch * len(self) + number
            # The place is moved before the batch is handed out: who saves it after training on
            # the batch goes on with the next one, and no consumer need exhaust the iterator.
            self.next_batch = number + 1
            if self.next_batch == len(self):
                self.epoch, self.next_batch = self.epoch + 1, 0
            start = number * self.batch_size
            own = order[start : start + self.batch_size]
            yield own if self.others is None else torch.cat([own, self._others(step)])

    def _others(self, step: int) -> Tensor:
        """The other molecules of the batch of a step, which alone decides on them."""
        assert self.others is not None
        n = self.others.numel()
        first = (step * self.world_size + self.rank) * self.n_others
        places = torch.arange(first, first + self.n_others)
        shuffles = {k: self._shuffle(n, ~k) for k in (places // n).unique().tolist()}
        chosen = [int(shuffles[place // n][place % n]) for place in places.tolist()]
        return self.others[chosen]

    def _order(self) -> Tensor:
        """This process's molecules of this pass, in order."""
        if self.seed is None:
            return self.indices[self.rank :: self.world_size]
        shuffle = self._shuffle(self.indices.numel(), self.epoch // self._epochs_a_pass)
        return self.indices[shuffle.to(self.indices.device)][self.rank :: self.world_size]

    def _shuffle(self, n: int, number: int) -> Tensor:
        """The order of n molecules in a pass through them."""
        assert self.seed is not None
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return torch.randperm(n, generator=generator)

    def state_dict(self) -> dict[str, Any]:
        """The place in the data."""
        return {"epoch": self.epoch, "next_batch": self.next_batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place in the data."""
        self.epoch, self.next_batch = state["epoch"], state["next_batch"]
