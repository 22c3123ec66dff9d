"""Models side by side are one, with the weighted mean of their predictions."""

import sys
from pathlib import Path

import pytest
import torch

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "campaign"))
from merge import main, merge

ALL = list(PROPERTIES.values())
SCHNET = {"n_features": 12, "n_filters": 8, "n_blocks": 2, "n_gaussians": 10, "cutoff": 4.0}
SPECTRUM = {"n_features": 10, "n_filters": 6, "n_products": 4, "n_blocks": 1, "cutoff": 3.0}


def predictor(seed, model="schnet", fields=SCHNET, hidden=6):
    torch.manual_seed(seed)
    made = Predictor(model, fields, ALL, head_features=hidden)
    made.scale[:] = torch.arange(1.0, 13.0) * (1 + seed)
    made.baseline.normal_()
    made.baseline[0] = 0.0  # a dipole has none
    made.domain = Domain((1, 6 + seed, 8), max_atoms=9 + seed, min_distance=0.9 - 0.1 * seed)
    return made.eval()


def other():
    """Another backbone, of another cutoff, with heads of another width."""
    return predictor(1, "spectrum_net", SPECTRUM, 5)


def turned(one):
    """The same model with dipole charges of the other sign, which gives the same dipoles."""
    with torch.no_grad():
        one.heads.out_weight[0] *= -1
        one.heads.out_bias[0] *= -1
    return one


@pytest.fixture
def molecules():
    torch.manual_seed(9)
    z = torch.tensor([6, 1, 8, 1, 6, 8, 8])
    return z, 1.5 * torch.randn(7, 3), torch.tensor([0, 0, 0, 0, 1, 1, 1])


def values(model, molecules):
    """In training mode, in which they are not cut to the properties' ranges."""
    return model.train()(*molecules)


@torch.no_grad()
def test_the_weighted_mean_of_two_kinds_of_models(molecules):
    a, b = predictor(0), other()
    three = merge([a, b], [0.7, 0.3]), a, b
    found, of_a, of_b = (values(model, molecules) for model in three)
    for name in set(a.property_names) - {"mu"}:
        expected = 0.7 * of_a[name] + 0.3 * of_b[name]
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-4)
        assert not torch.allclose(of_a[name], of_b[name])
    assert (found["mu"] <= 0.7 * of_a["mu"] + 0.3 * of_b["mu"] + 1e-5).all()  # of mean vectors


@torch.no_grad()
def test_three_models_count_alike_without_weights(molecules):
    parts = [predictor(0), other(), predictor(2)]
    found = values(merge(parts), molecules)["gap"]
    torch.testing.assert_close(found, sum(values(one, molecules)["gap"] for one in parts) / 3)


@torch.no_grad()
@pytest.mark.parametrize("change", [lambda one: one, turned])
def test_a_model_merged_with_itself_is_itself(molecules, change):
    a = predictor(0)
    merged = merge([a, change(predictor(0))])
    found, expected = values(merged, molecules), values(a, molecules)
    for name in a.property_names:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_the_domain_is_that_of_either_and_one_set_counts_once():
    assert merge([predictor(0), other()]).domain == Domain((1, 6, 7, 8), 10, 0.8)
    assert merge([predictor(0), predictor(0)]).domain == predictor(0).domain


def test_what_does_not_fit_together_is_refused():
    apart = predictor(1)
    apart.atom_reference[7, 6] = -1000.0
    with pytest.raises(ValueError, match="atom_reference: expected the same in all"):
        merge([predictor(0), apart])
    with pytest.raises(ValueError, match="properties: expected the same in all"):
        merge([predictor(0), Predictor("schnet", SCHNET, ALL[:3])])
    with pytest.raises(ValueError, match=r"weights: expected 2 that add up to 1, got \[0.9, 0.3\]"):
        merge([predictor(0), other()], [0.9, 0.3])


def test_the_command(tmp_path, monkeypatch, molecules):
    for name, part in (("a", predictor(0)), ("b", other())):
        save_checkpoint(part, tmp_path / f"{name}.safetensors", {"data": "QM9"})
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "both")]
    options = ["--weights", "0.6", "0.4", "--name", "both", "--notes", "A mean."]
    monkeypatch.setattr(sys, "argv", ["merge.py", *paths, *options])
    main()
    both = load(paths[2])
    assert (both.header.name, both.header.notes) == ("both", "A mean.")
    assert both.header.data == "QM9"
    with torch.no_grad():
        expected = merge([predictor(0), other()], [0.6, 0.4])(*molecules)
        assert torch.equal(both(*molecules)["gap"], expected["gap"])
