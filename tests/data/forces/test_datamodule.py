"""Energies and forces for Lightning: every source gives the same batches."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from molgeo.data.forces.readers import read_frames
from molgeo.datasets import ForceDataModule
from molgeo.units import KCAL_MOL

FIXTURES = Path(__file__).parents[2] / "fixtures" / "forces"


def test_batches_of_rmd17():
    module = ForceDataModule(FIXTURES / "ethanol.npz", energy_unit="kcal/mol", batch_size=4)
    module.setup()
    assert [len(part) for part in module.parts] == [57, 3, 20]
    assert len(module.train_dataloader()) == 14
    batch = next(iter(module.test_dataloader()))
    source = read_frames(FIXTURES / "ethanol.npz")
    assert batch.energy.tolist() == pytest.approx((source.energy[60:76] * KCAL_MOL).tolist())
    assert batch.force.shape == batch.pos.shape == (16 * 9, 3)
    assert batch.force.dtype == torch.float64


def test_no_molecule_is_in_two_parts():
    module = ForceDataModule(str(FIXTURES / "gfn2.npz"), validation_fraction=0.2, test_fraction=0.2)
    module.setup()
    group = read_frames(FIXTURES / "gfn2.npz").group
    found = [set(group[part.numpy()]) for part in module.parts]
    assert [len(part) for part in found] == [10, 3, 3]
    assert len(set.union(*found)) == 16


def test_pyg_data_and_a_test_set_of_its_own():
    frames = read_frames(FIXTURES / "acac.xyz")
    items = [
        Data(
            z=torch.from_numpy(frames.z[a:b]),
            pos=torch.from_numpy(frames.pos[a:b]),
            energy=torch.tensor(frames.energy[k], dtype=torch.float64),
            force=torch.from_numpy(frames.force[a:b]),
        )
        for k, (a, b) in enumerate(zip(frames.ptr, frames.ptr[1:], strict=False))
    ]
    module = ForceDataModule(items[:5], FIXTURES / "acac.xyz")
    module.setup()
    assert [len(part) for part in module.parts] == [4, 1, 8]
    whole = ForceDataModule([FIXTURES / "acac.xyz", FIXTURES / "acac_atoms.xyz"])
    whole.setup()
    assert torch.equal(whole.molecules.force[: 5 * 15], module.molecules.force[: 5 * 15])
    assert whole.free_atoms.keys() == {1, 6, 8}


def test_keys_units_and_limits(tmp_path):
    images = ase.io.read(FIXTURES / "acac.xyz", ":")
    for atoms in images:
        atoms.info["mine"] = atoms.get_potential_energy() / KCAL_MOL
        atoms.arrays["pull"] = atoms.get_forces() / KCAL_MOL
        atoms.calc = None
    ase.io.write(tmp_path / "mine.extxyz", images)
    module = ForceDataModule(
        tmp_path / "mine.extxyz",
        energy_unit="kcal/mol",
        energy_key="mine",
        force_key="pull",
        limit_train=2,
        limit_validation=1,
    )
    module.setup()
    assert [len(part) for part in module.parts] == [2, 1, 1]
    direct = ForceDataModule(FIXTURES / "acac.xyz")
    direct.setup()
    assert torch.allclose(module.molecules.y, direct.molecules.y, rtol=1e-12)


def test_wrong_units_are_refused_here_too():
    with pytest.raises(ValueError, match=r"divide by 23\.06"):
        ForceDataModule(FIXTURES / "ethanol.npz").setup()
    ForceDataModule(FIXTURES / "ethanol.npz", check_units=False).setup()


def test_nan_names_its_row(tmp_path):
    with np.load(FIXTURES / "gfn2.npz") as file:
        arrays = dict(file)
    arrays["e"] = arrays["e"].copy()
    arrays["e"][7] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(ValueError, match=r"nan\.npz: the energy is NaN .*row 7 of 71"):
        ForceDataModule(tmp_path / "nan.npz").setup()
