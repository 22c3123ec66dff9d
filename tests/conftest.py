"""Data that several test files share."""

from pathlib import Path

import pytest
import torch
from devices import on_device  # noqa: F401
from left_out import (  # noqa: F401, pytest finds them here by their names
    card,
    device,
    pytest_addoption,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_sessionfinish,
    sees_a_card_if_it_takes_one,
)

from molgeo.data.qm9.readers import from_tables
from molgeo.data.qm9.sources import fingerprint, normalised, prepare, write

TABLES = Path(__file__).parent / "fixtures" / "qm9" / "qm9_part1.csv"


@pytest.fixture(autouse=True)
def _no_leaks():
    """No test leaks its default dtype or its random state into the next."""
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    yield
    torch.set_rng_state(state)
    torch.set_default_dtype(dtype)


@pytest.fixture(scope="session")
def some_qm9():
    """Sixty-one real molecules of QM9, normalised."""
    return normalised(from_tables([TABLES]))


@pytest.fixture(scope="session")
def some_content(some_qm9):
    """What makes those sixty-one molecules themselves."""
    return fingerprint(some_qm9)


@pytest.fixture(scope="session")
def small_data(some_qm9, tmp_path_factory):
    """A data folder whose ``qm9`` holds those molecules."""
    folder = tmp_path_factory.mktemp("small")
    write(some_qm9, folder / "qm9" / "qm9.safetensors", "fixture")
    return folder


@pytest.fixture(scope="session")
def whole_qm9(tmp_path_factory):
    """Folder of the whole QM9, prepared from the installed package."""
    return prepare(tmp_path_factory.mktemp("whole"), "qm9pack").parent
