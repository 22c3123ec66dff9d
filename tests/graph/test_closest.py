"""Close atoms and fragments against all distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist

from molgeo.graph.closest import closest_pair, count_fragments, pairs_below


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(1, 60), st.floats(0.1, 4.0), st.integers(0, 2**32 - 1))
def test_pairs_agree_with_scipys_pdist(n, limit, seed):
    pos = np.random.default_rng(seed).normal(size=(n, 3))
    i, j, found = pairs_below(pos, limit)
    assert found == pytest.approx(np.linalg.norm(pos[i] - pos[j], axis=1), rel=1e-12)
    assert sorted(found) == pytest.approx(sorted(d for d in pdist(pos) if d < limit), rel=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 600), st.integers(0, 2**32 - 1))
def test_closest_pair_agrees_with_a_brute_force_search(n, seed):
    pos = np.random.default_rng(seed).normal(size=(n, 3))
    i, j = np.triu_indices(n, 1)
    distances = np.linalg.norm(pos[i] - pos[j], axis=1)
    assert closest_pair(pos, 0.999 * distances.min()) is None
    distance, a, b = closest_pair(pos, 1e3)
    assert a < b
    assert distance == pytest.approx(distances.min(), rel=1e-12)
    assert np.linalg.norm(pos[a] - pos[b]) == pytest.approx(distance, rel=1e-12)


def test_one_atom_has_no_pair():
    assert closest_pair(np.zeros((1, 3)), 1.0) is None
    assert count_fragments(np.zeros((1, 3)), 1.0) == 1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.floats(0.1, 3.0), st.integers(0, 2**32 - 1))
def test_fragments_agree_with_a_matrix_of_distances(n, limit, seed):
    pos = 3.0 * np.random.default_rng(seed).normal(size=(n, 3))
    i, j = np.nonzero(np.linalg.norm(pos[:, None] - pos, axis=-1) < limit)
    matrix = coo_array((np.ones(len(i)), (i, j)), shape=(n, n))
    assert count_fragments(pos, limit) == connected_components(matrix)[0]


@pytest.mark.parametrize("n", [2, 3, 20_000])
def test_atoms_in_one_place_are_found_at_once(n):
    assert closest_pair(np.zeros((n, 3)), 1.0) == (0.0, 0, 1)
    pos = np.arange(3.0 * n).reshape(n, 3)
    pos[n - 1] = pos[n // 2 - 1]
    assert closest_pair(pos, 1.0) == (0.0, n // 2 - 1, n - 1)
