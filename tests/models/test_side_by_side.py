"""Backbones side by side give what each of them gives alone."""

import pytest
import torch

from molgeo import models
from molgeo.graph import radius_graph
from molgeo.testing.case import atoms_of, collated

SCHNET = {"model": "schnet", "n_features": 12, "n_filters": 8, "n_blocks": 1, "cutoff": 3.0}
SPECTRUM = {"model": "spectrum_net", "n_features": 10, "n_filters": 6, "n_blocks": 2, "cutoff": 4.5}


def built(*members, **fields):
    torch.manual_seed(0)
    return models.build("side_by_side", {"members": list(members), **fields}).double().eval()


def test_features_are_those_of_the_members_on_the_graph_of_the_longest_cutoff():
    model = built(SCHNET, SPECTRUM, n_out=None)
    assert (model.cutoff, model.feature_dim) == (4.5, 22)
    z, pos, batch = collated([atoms_of("methanol"), atoms_of("ethylene")])
    features = model.atom_features(z, pos, radius_graph(pos, model.cutoff, batch))
    for one, found in zip(model.members, features.split([12, 10], dim=1), strict=True):
        expected = one.atom_features(z, pos, radius_graph(pos, one.cutoff, batch))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_it_is_what_its_members_are():
    plain, charged = built(SCHNET, SPECTRUM), built(SCHNET, SPECTRUM | {"charges": True})
    assert (plain.takes_charge, charged.takes_charge) == (False, True)
    assert plain.linear_in_edges
    assert not built(SCHNET, {"model": "dimenet_pp", "n_blocks": 1}).linear_in_edges


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "members"),
        ([SCHNET] * 17, "members"),
        ([{"n_features": 3}], "expected a model of .*, got None"),
        ([{"model": "side_by_side"}], "expected a model of .*, got 'side_by_side'"),
        ([{"model": "os.path"}], "expected a model of .*, got 'os.path'"),
        ([{"model": ["schnet"]}], "expected a model of"),
        ([SCHNET | {"n_features": -1}], "SchNetConfig: n_features"),
        ([SCHNET | {"width": 1}], "SchNetConfig: unknown field"),
    ],
)
def test_members_that_cannot_be_are_refused(members, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        built(*members)
