"""What is usual among training molecules."""

import torch

from molgeo.predictor.standardising import usual


def test_columns_come_to_widths_and_constants_to_nothing():
    columns = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    centre, factor = usual(columns)
    assert centre.tolist() == [3.0, 5.0]
    assert factor.tolist() == [0.5, 0.0]


def test_one_molecule_says_what_is_usual_and_no_width():
    centre, factor = usual(torch.tensor([[[1.0, 2.0]]]))
    assert centre.tolist() == [[1.0, 2.0]]
    assert factor.tolist() == [[0.0, 0.0]]
