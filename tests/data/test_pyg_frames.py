"""Any PyG data set or list of ``Data`` with energies and forces."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from molgeo.data.pyg_frames import frames_of_pyg


def data(n_atoms, energy, **fields):
    return Data(
        z=torch.arange(1, n_atoms + 1),
        pos=torch.rand(n_atoms, 3),
        energy=energy,
        force=torch.rand(n_atoms, 3),
        **fields,
    )


class Whole(InMemoryDataset):
    """A data set of a few items."""

    def __init__(self, items):
        super().__init__()
        self.data, self.slices = self.collate(items)


@pytest.mark.parametrize("make", [list, Whole])
def test_items_become_frames(make):
    torch.manual_seed(0)
    items = [data(2, torch.tensor([-1.5])), data(3, torch.tensor([-2.5]))]
    got = frames_of_pyg(make(items))
    assert got.n_atoms.tolist() == [2, 3]
    assert got.energy.tolist() == [-1.5, -2.5]
    assert np.array_equal(got.pos[2:], items[1].pos.numpy())
    assert np.array_equal(got.force[:2], items[0].force.numpy())
    assert not got.pbc.any()


def test_lattices():
    box = {"cell": 4 * torch.eye(3)[None], "pbc": torch.tensor([[True, False, True]])}
    got = frames_of_pyg([data(2, 1.0, **box), data(2, 1.0)])
    assert got.cell[0].tolist() == (4 * np.eye(3)).tolist()
    assert got.pbc.tolist() == [[True, False, True], [False] * 3]


def test_what_is_missing_is_named():
    bare = Data(z=torch.ones(2), pos=torch.ones(2, 3))
    with pytest.raises(ValueError, match="row 1: expected z, pos, energy, force, got pos, z"):
        frames_of_pyg([data(2, 0.5), bare])
    with pytest.raises(ValueError, match="got int"):
        frames_of_pyg([3])
    with pytest.raises(ValueError, match="one item or more"):
        frames_of_pyg([])
