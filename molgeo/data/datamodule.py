"""Data sets of flat tensors for Lightning."""

from __future__ import annotations

from lightning.pytorch import LightningDataModule

from molgeo.data.loader import FlatLoader
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import Split


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
    """

    molecules: MoleculeSet
    parts: Split
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

    def train_dataloader(self) -> FlatLoader:
        """Shuffled batches of the training part."""
        loader = self._loader("train", self.batch_size, self.seed)
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
        return FlatLoader(
            self.molecules,
            getattr(self.parts, part),
            batch_size,
            seed=seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            epoch_size=self.epoch_size,
        )
