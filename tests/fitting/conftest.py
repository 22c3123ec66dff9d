"""Fits small enough to test."""

import csv

import numpy as np
import pytest

from molgeo.data.qm9.dataset import QM9
from molgeo.fitting import recipe
from molgeo.fitting.settings import FitSettings

TINY = {
    "model": "spectrum_net",
    "backbone": {
        "n_features": 16,
        "n_filters": 16,
        "n_products": 16,
        "n_blocks": 1,
        "n_gaussians": 8,
        "n_spherical": 2,
        "cutoff": 4.0,
        "charges": True,
    },
}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    """Fits begin with a small backbone of random weights, and keep conformers with the test."""
    monkeypatch.setattr(recipe, "FRESH", TINY)
    monkeypatch.setattr("molgeo.fitting.preparing.FRESH", TINY)
    monkeypatch.setenv("MOLGEO_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def molecules(small_data):
    """SMILES of 61 molecules and a value that grows with them."""
    data = QM9(small_data / "qm9")
    k = data.molecules.properties.index("alpha")
    return list(zip(data.all_smiles(), data.molecules.y[:, k].tolist(), strict=True))


@pytest.fixture
def table(tmp_path, molecules):
    """Write a table: titles, and a function from a row's number, SMILES and value to its cells."""

    def write(titles=("smiles", "y"), cells=lambda k, smiles, y: (smiles, f"{y:.3f}"), more=()):
        path = tmp_path / "mine.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(titles)
            writer.writerows(cells(k, *one) for k, one in enumerate(molecules))
            writer.writerows(more)
        return path

    return write


@pytest.fixture
def quick():
    """Settings of a fit that is over in seconds."""

    def settings(**fields):
        own = {"target": "y", "members": 2, "folds": 3, "epochs": 2, "conformers": 1, "threads": 1}
        return FitSettings(**{**own, "from_scratch": True, "device": "cpu", **fields})

    return settings


@pytest.fixture
def rng():
    return np.random.default_rng(0)
