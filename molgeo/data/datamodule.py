"""Data sets of flat tensors for Lightning."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from molgeo.data.capacity import Ladder, ladder_of
from molgeo.data.loader import FlatLoader
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import Split
from molgeo.runtime.plain_text import say
from molgeo.runtime.progress import progress

MOST_EDGES: Final = 300_000_000
"""Edges that are kept at most: some 2 GB, 5 GB if they cross periodic boundaries."""

SAMPLED: Final = 64
"""Molecules from which the number of all edges is estimated."""

TYPICAL: Final = 8192
"""Training molecules, about, whose loads decide on capacities."""


class Rehearsed(NamedTuple):
    """Molecules of another set that a run has beside its own.

    Attributes:
        molecules: with the labels of the run's own.
        train: (n,) int64 rows of ``molecules``, of which each training batch has some.
        validation: (n,) rows of which none has any.
        share: part of a training batch.
    """

    molecules: MoleculeSet
    train: Tensor
    validation: Tensor
    share: float

    def of_batch(self, batch_size: int) -> int:
        """How many a batch has: one or more, and not all."""
        return min(max(round(self.share * batch_size), 1), batch_size - 1)


SHARE: Final = 0.25
"""Part of a card's free memory that a data set may take."""


class FlatDataModule(LightningDataModule):
    """A data set of flat tensors in batches.

    Args:
        batch_size: molecules per batch, on each process.
        seed: of the shuffling.
        limit_train: molecules to train on; 0 for all.
        limit_validation: molecules to validate on; 0 for all.
        first_step: steps that a resumed run has behind it; its data go on from there.
        epoch_size: molecules per epoch; 0 for all.

    Attributes:
        molecules: the data set, once `setup` was called.
        parts: the parts, as indices into ``molecules``.
        ladder: shapes to which training batches are padded; None if they are not.
        rehearsed: molecules of another set of which each training batch has some; None without.
    """

    molecules: MoleculeSet
    parts: Split
    ladder: Ladder | None = None
    rehearsed: Rehearsed | None = None
    _placed: MoleculeSet | None = None
    labels_may_be_missing = False
    """Whether a label that is NaN is one that nobody knows, or a fault."""

    def __init__(
        self,
        batch_size: int = 64,
        seed: int = 42,
        limit_train: int = 0,
        limit_validation: int = 0,
        first_step: int = 0,
        epoch_size: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed
        self.limit_train = limit_train
        self.limit_validation = limit_validation
        self.first_step = first_step
        self.epoch_size = epoch_size

    def load(self) -> tuple[MoleculeSet, Split]:
        """The data and the rows of their parts."""
        raise TypeError(f"{type(self).__name__} does not say what its data are")

    def setup(self, stage: str | None = None) -> None:
        """Load the data (once)."""
        if hasattr(self, "molecules"):
            return
        self.molecules, (train, validation, test) = self.load()
        self.parts = Split(
            train[: self.limit_train or None], validation[: self.limit_validation or None], test
        )

    def rehearse(self, others: Rehearsed) -> None:
        """Let each training batch have some molecules of another set.

        Args:
            others: of the very labels of the data, `setup` being called.
        """
        self.rehearsed = others
        self._placed = self.molecules.joined(others.molecules)

    def find_edges(self, cutoff: float, last_step: int = -1, padded: bool = False) -> None:
        """Find the edges of all molecules that a run looks at, once for all its batches.

        Without it, or if there are more than `MOST_EDGES`, each batch searches its own.

        Args:
            cutoff: of the run's model, Å.
            last_step: of a run on one device; -1 if it has none, or if several devices share steps.
            padded: pad training batches to the shapes of a ladder.
        """
        seen, steps = self._all_rows("train"), last_step - self.first_step
        # Capacities are those of the whole run, however much of it is left when it is resumed.
        typical = _every_nth(seen, TYPICAL)
        if self.rehearsed is not None:
            typical = self._shuffled().ahead(-(-TYPICAL // self.batch_size))
        if 0 <= steps < len(self.parts.train) // self.batch_size:  # a short run sees few molecules
            seen = self.train_dataloader().ahead(steps)
        looked_at = [seen, self._all_rows("validation"), *([typical] if padded else [])]
        rows = torch.cat(looked_at).unique()
        sample, molecules = _every_nth(rows, SAMPLED), self._placed or self.molecules
        edges_per_row = len(molecules.find_neighbours(cutoff, sample).target) / len(sample)
        if edges_per_row * len(rows) > MOST_EDGES:
            if padded:
                say(
                    f"replay: {len(rows)} molecules have too many edges to keep; batches are not "
                    "padded, and each step is computed, which takes longer"
                )
            return
        with progress("finding edges") as report:
            known = molecules.with_neighbours(cutoff, rows, report)
        self._placed = known
        if padded:
            assert known.neighbours is not None
            self.ladder = ladder_of(known.neighbours.loads[typical.numpy()], self.batch_size)

    def _all_rows(self, part: Literal["train", "validation"]) -> Tensor:
        """Rows of a part, and of what is rehearsed of it, which lies behind the data."""
        own: Tensor = getattr(self.parts, part)
        if self.rehearsed is None:
            return own
        return torch.cat([own, len(self.molecules) + getattr(self.rehearsed, part)])

    def train_dataloader(self) -> FlatLoader:
        """Shuffled batches of the training part, and of what is rehearsed."""
        loader = self._shuffled()
        loader.ladder = self.ladder
        # Lightning restores a loader's place only in some of the states it saves.
        epoch, batch = divmod(self.first_step, len(loader))
        loader.load_state_dict({"epoch": epoch, "next_batch": batch})
        return loader

    def val_dataloader(self) -> FlatLoader | list[FlatLoader]:
        """Batches of the validation part, in order; and those of what is rehearsed."""
        size, rows = 4 * self.batch_size, self._all_rows("validation")
        if self.rehearsed is None:
            return self._loader(rows, size)
        own = len(self.parts.validation)
        return [self._loader(rows[:own], size), self._loader(rows[own:], size)]

    def test_dataloader(self) -> FlatLoader:
        """Batches of the test part, in order."""
        return self._loader(self.parts.test, 4 * self.batch_size)

    def _shuffled(self) -> FlatLoader:
        """Batches of the training part from the run's start."""
        own, others = self.parts.train, self.rehearsed
        return self._loader(
            own,
            self.batch_size,
            seed=self.seed,
            others=None if others is None else self._all_rows("train")[len(own) :],
            n_others=0 if others is None else others.of_batch(self.batch_size),
        )

    def _loader(self, rows: Tensor, batch_size: int, **order: Any) -> FlatLoader:
        molecules = self._placed or self.molecules
        if self.trainer:
            molecules = self._placed = placed(molecules, self.trainer.strategy.root_device)
        return FlatLoader(
            molecules,
            rows,
            batch_size,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            epoch_size=self.epoch_size,
            **order,
        )


def placed(molecules: MoleculeSet, device: torch.device) -> MoleculeSet:
    """A set on a card, if it takes no more than `SHARE` of the memory that is free there."""
    if device.type != "cuda" or molecules.z.device == device:
        return molecules
    free, _ = torch.cuda.mem_get_info(device)
    return molecules.to(device) if molecules.n_bytes <= SHARE * free else molecules


def _every_nth(rows: Tensor, n: int) -> Tensor:
    """About n rows, evenly from all of them."""
    return rows[:: max(1, -(-len(rows) // n))]
