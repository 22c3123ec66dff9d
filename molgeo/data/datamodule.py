"""Data sets of flat tensors for Lightning."""

from __future__ import annotations

from typing import Final

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
    """

    molecules: MoleculeSet
    parts: Split
    ladder: Ladder | None = None
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

    def find_edges(self, cutoff: float, last_step: int = -1, padded: bool = False) -> None:
        """Find the edges of all molecules that a run looks at, once for all its batches.

        Without it, or if there are more than `MOST_EDGES`, each batch searches its own.

        Args:
            cutoff: of the run's model, Å.
            last_step: of a run on one device; -1 if it has none, or if several devices share steps.
            padded: pad training batches to the shapes of a ladder.
        """
        seen, steps = self.parts.train, last_step - self.first_step
        # Capacities are those of the whole run, however much of it is left when it is resumed.
        typical = _every_nth(seen, TYPICAL)
        if 0 <= steps < len(seen) // self.batch_size:  # a short run sees few molecules
            seen = self.train_dataloader().ahead(steps)
        rows = torch.cat([seen, self.parts.validation, *([typical] if padded else [])]).unique()
        sample = _every_nth(rows, SAMPLED)
        edges_per_row = len(self.molecules.find_neighbours(cutoff, sample).target) / len(sample)
        if edges_per_row * len(rows) > MOST_EDGES:
            if padded:
                say(
                    f"replay: {len(rows)} molecules have too many edges to keep; batches are not "
                    "padded, and each step is computed, which takes longer"
                )
            return
        with progress("finding edges") as report:
            known = self.molecules.with_neighbours(cutoff, rows, report)
        self._placed = known
        if padded:
            assert known.neighbours is not None
            self.ladder = ladder_of(known.neighbours.loads[typical.numpy()], self.batch_size)

    def train_dataloader(self) -> FlatLoader:
        """Shuffled batches of the training part."""
        loader = self._loader("train", self.batch_size, self.seed)
        loader.ladder = self.ladder
        # Lightning restores a loader's place only in some of the states it saves.
        epoch, batch = divmod(self.first_step, len(loader))
        loader.load_state_dict({"epoch": epoch, "next_batch": batch})
        return loader

    def val_dataloader(self) -> FlatLoader:
        """Batches of the validation part, in order."""
        return self._loader("validation", 4 * self.batch_size, None)

    def test_dataloader(self) -> FlatLoader:
        """Batches of the test part, in order."""
        return self._loader("test", 4 * self.batch_size, None)

    def _loader(self, part: str, batch_size: int, seed: int | None) -> FlatLoader:
        molecules = self._placed or self.molecules
        if self.trainer:
            molecules = self._placed = placed(molecules, self.trainer.strategy.root_device)
        return FlatLoader(
            molecules,
            getattr(self.parts, part),
            batch_size,
            seed=seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            epoch_size=self.epoch_size,
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
