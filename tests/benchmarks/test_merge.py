"""Two SchNets side by side are one, with the mean of their predictions."""

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
BACKBONE = {"n_features": 12, "n_filters": 8, "n_blocks": 2, "n_gaussians": 10, "cutoff": 4.0}


def predictor(seed, **fields):
    torch.manual_seed(seed)
    made = Predictor("schnet", {**BACKBONE, **fields}, ALL, head_features=6)
    made.scale[:] = torch.arange(1.0, 13.0)
    made.domain = Domain((1, 6 + seed, 8), max_atoms=9 + seed, min_distance=0.9 - 0.1 * seed)
    return made.eval()


@pytest.fixture
def molecules():
    torch.manual_seed(9)
    z = torch.tensor([6, 1, 8, 1, 6, 8, 8])
    return z, 1.5 * torch.randn(7, 3), torch.tensor([0, 0, 0, 0, 1, 1, 1])


def test_the_mean_of_both(molecules):
    a, b = predictor(0), predictor(1)
    with torch.no_grad():
        found, of_a, of_b = (model(*molecules) for model in (merge(a, b), a, b))
    for name in set(a.property_names) - {"mu"}:
        torch.testing.assert_close(found[name], (of_a[name] + of_b[name]) / 2, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(of_a[name], of_b[name])


def test_the_domain_is_that_of_either():
    assert merge(predictor(0), predictor(1)).domain == Domain((1, 6, 7, 8), 10, 0.8)


def test_a_model_merged_with_itself_is_itself(molecules):
    a = predictor(0)
    with torch.no_grad():
        found, expected = merge(a, a)(*molecules), a(*molecules)
    for name in a.property_names:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_other_sizes_and_references_are_refused():
    with pytest.raises(
        ValueError, match=r"backbone: expected .*'n_blocks': 2.*got .*'n_blocks': 1"
    ):
        merge(predictor(0), predictor(1, n_blocks=1))
    other = predictor(1)
    other.scale[0] = 7.0
    with pytest.raises(ValueError, match="scale: expected the same in both"):
        merge(predictor(0), other)
    with pytest.raises(ValueError, match="expected schnet, got dimenet_pp"):
        merge(Predictor("dimenet_pp", {}, ALL), predictor(0))


def test_the_command(tmp_path, monkeypatch, molecules, capsys):
    for name, seed in (("a", 0), ("b", 1)):
        save_checkpoint(predictor(seed), tmp_path / f"{name}.safetensors", {"data": "QM9"})
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "both")]
    monkeypatch.setattr(sys, "argv", ["merge.py", *paths, "--name", "both", "--notes", "A mean."])
    main()
    both = load(paths[2])
    assert (both.header.name, both.header.notes) == ("both", "A mean.")
    assert both.header.data == "QM9"
    with torch.no_grad():
        expected = merge(predictor(0), predictor(1))(*molecules)
        assert torch.equal(both(*molecules)["gap"], expected["gap"])
