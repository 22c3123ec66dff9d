"""Real molecules of QM9, for tests of what is made from coordinates."""

from typing import NamedTuple

import numpy as np
import pytest


class Sample(NamedTuple):
    smiles: str
    z: np.ndarray
    pos: np.ndarray


@pytest.fixture(scope="session")
def samples(some_qm9):
    """SMILES → molecule, all of the fixture's."""
    first = np.concatenate([[0], some_qm9.n_atoms.cumsum()])
    return {
        smiles: Sample(smiles, some_qm9.z[a:b].astype(np.int64), some_qm9.pos[a:b])
        for smiles, a, b in zip(some_qm9.smiles, first[:-1], first[1:], strict=True)
    }
