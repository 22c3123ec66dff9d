"""A kind of data that molgeo does not have, as a package of somebody else brings it."""

import torch
from pydantic import Field

from molgeo.data.datamodule import FlatDataModule
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import Split
from molgeo.properties import Property
from molgeo.training.config import RunConfig
from molgeo.training.table import TableTask
from molgeo.training.task import COMMON_FIXED, Task

LENGTH = Property("length", "Å", description="bond length of a diatomic")


class Logarithms(TableTask):
    """Values in a table, as molgeo's own kind has them."""


class StretchedConfig(RunConfig):
    """Stretched hydrogen molecules.

    Attributes:
        n: of them.
    """

    n: int = Field(default=40, ge=12)

    @property
    def learned(self):
        return (LENGTH,)

    @property
    def set_name(self):
        return "stretched"


class StretchedModule(FlatDataModule):
    def __init__(self, config, first_step):
        super().__init__(config.batch_size, config.seed, first_step=first_step)
        self.n = config.n

    def load(self):
        length = torch.linspace(0.5, 1.5, self.n).double()
        pos = torch.zeros(self.n, 2, 3)
        pos[:, 1, 0] = length.float()
        molecules = MoleculeSet(
            z=torch.ones(2 * self.n, dtype=torch.uint8),
            pos=pos.reshape(-1, 3),
            ptr=torch.arange(0, 2 * self.n + 1, 2),
            y=length.unsqueeze(-1),
            idx=torch.arange(self.n),
            properties=("length",),
        )
        return molecules, Split(*torch.randperm(self.n).split([self.n - 8, 4, 4]))


class Stretched(Task):
    config_class = StretchedConfig
    fixed = (*COMMON_FIXED, "n")

    @classmethod
    def data_module(cls, config, first_step):
        return StretchedModule(config, first_step)

    def about(self):
        return {"data": "stretched", "n_train": len(self.data.parts.train)}

    def errors(self, predictor, part="test", **options):
        batch = self.data.molecules.batch(getattr(self.data.parts, part))
        with torch.no_grad():
            error = predictor(batch.z, batch.pos, batch.batch)["length"] - batch.y[:, 0]
        mae = {LENGTH.column: float(error.abs().mean())}
        return {"n": len(error), "split": part, "geometry": "given", "mae": mae, "rmse": {}}
