"""Cutting row-wise functions into pieces."""

import pytest
import torch

from molgeo.ops.dense import ROWS, by_rows


@pytest.mark.parametrize("rows", [0, 1, ROWS, 2 * ROWS + 3])
def test_pieces_are_the_whole(rows):
    sizes = []

    def add(x, y):
        sizes.append(len(x))
        return x + y

    x, y = torch.randn(rows, 2), torch.randn(rows, 2)
    with torch.no_grad():
        assert torch.equal(by_rows(add, x, y), x + y)
    assert sum(sizes) == rows
    assert max(sizes) <= ROWS


def test_one_piece_where_derivatives_are_wanted():
    sizes = []

    def double(x):
        sizes.append(len(x))
        return 2 * x

    by_rows(double, torch.ones(2 * ROWS, 1, requires_grad=True)).sum().backward()
    assert sizes == [2 * ROWS]
