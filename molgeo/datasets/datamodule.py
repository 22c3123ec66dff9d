"""QM9 for Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import LightningDataModule

from molgeo.datasets.geometries import Geometry
from molgeo.datasets.loader import FlatLoader
from molgeo.datasets.qm9 import QM9, Split
from molgeo.properties import QM9_PROPERTIES


class QM9DataModule(LightningDataModule):
    """The standard split of QM9 in batches of flat tensors.

    Args:
        root: folder of the prepared data; None for the default one.
        properties: labels wanted.
        batch_size: molecules a batch, on each process.
        seed: of the shuffling.
        limit_train: molecules to train on; 0 for all.
        limit_validation: molecules to validate on; 0 for all.
        first_step: steps that a resumed run has behind it; its data go on from there.
        geometry: of the molecules, as `QM9.geometry` knows it; all conformers are taken, and
            molecules without one are left out.

    Attributes:
        molecules: the data set at this geometry, once `setup` was called.
        parts: the parts, as indices into ``molecules``.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        properties: Sequence[str] = QM9_PROPERTIES,
        batch_size: int = 64,
        seed: int = 42,
        limit_train: int = 0,
        limit_validation: int = 0,
        first_step: int = 0,
        geometry: Geometry = "dft",
    ) -> None:
        super().__init__()
        self.root = root
        self.properties = tuple(properties)
        self.batch_size = batch_size
        self.seed = seed
        self.limit_train = limit_train
        self.limit_validation = limit_validation
        self.first_step = first_step
        self.geometry = geometry

    def setup(self, stage: str | None = None) -> None:
        """Load the prepared data (once)."""
        if hasattr(self, "molecules"):
            return
        data = QM9(self.root)
        geometries = data.geometry(self.geometry)
        self.molecules = geometries.molecules.select(self.properties)
        train, validation, test = data.split()
        rows = train[: self.limit_train or None], validation[: self.limit_validation or None], test
        self.parts = Split(*map(geometries.all_of, rows))

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
        )
