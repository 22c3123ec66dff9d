"""Which kind of head a fit takes."""

import importlib
from dataclasses import replace

import pytest
import torch

from molgeo.fitting.pooling import best_heads, is_shared_out
from molgeo.fitting.run import fit_table
from molgeo.predictor.checkpoint import load
from molgeo.training.yaml_text import read_yaml


class Killed(BaseException):
    """In place of a signal."""


def test_all_heads_are_kernels_or_none():
    good, bad = {"kernel": 1.0, "mean": 2.0, "sum": 4.0}, {"kernel": 3.0, "mean": 2.0, "sum": 4.0}
    assert best_heads([good]) == ["kernel"]
    assert best_heads([bad]) == ["mean"]
    assert best_heads([good, bad]) == ["kernel", "kernel"]
    assert best_heads([{"kernel": 9.0, "mean": 5.0, "sum": 1.0}, good]) == ["sum", "mean"]
    assert best_heads([{"moments": 2.0, "mean": 1.0}]) == ["mean"]


def test_each_atom_has_a_share_in_what_sums_know_far_better_than_means():
    assert is_shared_out({"kernel": 0.76, "mean": 2.97, "sum": 0.99})
    assert not is_shared_out({"kernel": 0.49, "mean": 0.97, "sum": 0.83})


@pytest.fixture
def short(monkeypatch):
    """Kernels seem to be better than heads, and a member is trained for two epochs."""
    place = importlib.import_module("molgeo.fitting.preparing")
    original = place.recipe_for
    monkeypatch.setattr(
        place, "recipe_for", lambda *args: replace(original(*args), epochs=2, heads_first=4)
    )
    monkeypatch.setattr(
        "molgeo.fitting.pooling._compared",
        lambda own, from_scratch: {"y": {"kernel": 1.0, "mean": 9.0, "sum": 2.0}},
    )


@pytest.mark.parametrize("winner", ["sum", "kernel"])
def test_a_trained_member_decides_then(winner, short, table, quick, monkeypatch, capsys):
    place = importlib.import_module("molgeo.fitting.pooling")
    measured = place._errors

    def errors(member, own):
        found = measured(member, own)
        is_kernel = member.properties[0].head == "kernel"
        return [0.0 if is_kernel == (winner == "kernel") else one for one in found]

    monkeypatch.setattr(place, "_errors", errors)
    path, fields = table(), {"from_scratch": False, "epochs": None}
    whole = load(fit_table(path, quick(output="whole", **fields)).path)
    assert whole.properties[0].head == winner
    assert f"{winner} is taken" in capsys.readouterr().err
    found = read_yaml("whole/trial.yaml")
    assert (found[winner], found["sum" if winner == "kernel" else "kernel"][0] > 0) == ([0.0], True)

    def killed(*args, **kwargs):
        raise Killed

    for name in ("kernel_members", "_with_heads"):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(Killed):
                fit_table(path, quick(output="again", resume=name == "_with_heads", **fields))
    again = load(fit_table(path, quick(output="again", resume=True, **fields)).path)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), name
