"""Bars within QM9: no molecule of a kind that is left out is trained on, and shares are right."""

import json
import math

import pytest
import torch

from molgeo.data.qm9.properties import named
from molgeo.data.split import Split
from molgeo.predictor import Predictor

FOLDER = "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, pytestconfig):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / FOLDER)
    import within_qm9

    return within_qm9


@pytest.fixture
def data(small_data):
    from molgeo.data.qm9.dataset import QM9

    return QM9(small_data / "qm9")


def test_heavy_atoms_are_counted(script, data) -> None:
    rows = torch.tensor([5, 0, 3])
    z = [data.molecules.batch(rows[k : k + 1]).z for k in range(3)]
    assert data.molecules.heavy_atoms(rows).tolist() == [int((o > 1).sum()) for o in z]


def test_the_next_size_is_tested_on_and_never_seen(script, data, monkeypatch) -> None:
    train, validation, test = data.split()
    sizes = data.molecules.heavy_atoms(test)
    largest = int(sizes.mode().values) - 1
    split = script.by_size(data, largest)
    seen = torch.cat([split.train, split.validation])
    assert data.molecules.heavy_atoms(seen).max() <= largest
    assert set(data.molecules.heavy_atoms(split.test).tolist()) == {largest + 1}
    for part, of in zip(split, (train, validation, test), strict=True):
        assert len(part)
        assert set(part.tolist()) <= set(of.tolist())


class Rings:
    """A data set of many scaffolds, each with several molecules."""

    def smiles(self, row: int) -> str:
        ring = row % 60
        return f"C1C{'C' * (ring % 6)}C1{'C' * (row % 5)}" if ring else "CCO"

    def split(self) -> Split:
        return Split(*torch.arange(900).split([600, 150, 150]))


def test_scaffolds_are_of_one_side_only(script) -> None:
    data = Rings()
    split = script.by_scaffold(data)
    train, validation, test = (
        {script.scaffold(data.smiles(row)) for row in part.tolist()} for part in split
    )
    assert train
    assert validation
    assert test
    assert not (train | validation) & test
    assert "" in train  # no ring, no scaffold


def test_a_quarter_of_the_scaffolds_is_left_out(script) -> None:
    names = [f"C1CC{n}" for n in range(4000)]
    share = sum(map(script.is_left_out, names)) / len(names)
    assert share == pytest.approx(script.SCAFFOLD_SHARE, abs=0.03)
    assert [script.is_left_out(n, 1) for n in names] != [script.is_left_out(n) for n in names]


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [("CCO", ""), ("CC1CC1", "C1CC1"), ("OC1CC1CC1CO1", "C1CC1CC1CO1"), ("Cc1ccccc1", "c1ccccc1")],
)
def test_a_scaffold_is_rings_and_what_links_them(script, smiles, expected) -> None:
    assert script.scaffold(smiles) == expected


def test_shares_and_errors_of_known_bars(script) -> None:
    error = torch.tensor([0.5, -1.5, 3.0, -0.1])
    found = script.statistics(
        error, torch.ones(4), torch.full((4,), 2.0), torch.tensor([False, True, True, False])
    )
    assert found["within_std"] == 0.5
    assert found["within_90"] == 0.75
    assert (found["mae_flagged"], found["mae_unflagged"]) == (2.25, pytest.approx(0.3))
    assert (found["n"], found["flagged"], found["half_width_90"]) == (4, 0.5, 2.0)


def test_nothing_flagged_has_no_error(script) -> None:
    one = torch.ones(1)
    found = script.statistics(one, one, one, torch.tensor([False]))
    assert math.isnan(found["mae_flagged"])
    assert found["mae_unflagged"] == 1.0


PROPERTIES = named(["gap", "mu"])


def made_up(n: int, seed: int, largest: float = 1.0):
    """Errors that grow with s² and with the fourth power of the size."""
    from within_qm9_bars import Seen

    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(n, 2, 3, generator=generator, dtype=torch.float64)
    signals = torch.stack([draw[..., 0] - 0.5, draw[..., 1] * math.log(largest)], dim=-1)
    error = (signals @ torch.tensor([2.0, 4.0]).double()).exp() * (draw[..., 2] - 0.5)
    return Seen(PROPERTIES, error, signals)


def test_how_errors_grow_is_found(script) -> None:
    found = script.exponents(made_up(3000, 1), made_up(3000, 2, largest=1.5))
    for name in ("gap", "mu"):
        assert found[name].tolist() == pytest.approx([2.0, 4.0], abs=0.25)


def test_bars_that_grow_hold_where_constant_ones_do_not(script) -> None:
    calibrating, tested = made_up(3000, 1), made_up(3000, 3, largest=1.5)
    shares = []
    for two in ([0.0, 0.0], [2.0, 4.0]):
        bars = script.Bars(calibrating, {one.name: torch.tensor(two) for one in PROPERTIES})
        std, interval = bars.widths(tested, 0)
        found = script.statistics(tested.error[:, 0], std, interval, bars.flagged(tested))
        shares.append((found["within_std"], found["within_90"]))
    assert shares[0][1] < 0.75
    assert shares[1] == pytest.approx((0.6827, 0.9), abs=0.03)
    assert bars.flagged(calibrating).double().mean() == pytest.approx(0.02, abs=0.002)


def test_the_gradients_are_those_of_the_last_layer(script, data) -> None:
    """Of all kinds of heads, by automatic differentiation."""
    from within_qm9_bars import gradients

    kinds = ["mu", "gap", "r2", "u0"]
    fields = {"n_features": 8, "n_filters": 4, "n_products": 4, "n_blocks": 1}
    torch.manual_seed(0)
    predictor = Predictor("spectrum_net", fields, named(kinds), 5)
    molecules, rows = data.molecules.select(predictor.property_names), torch.tensor([40, 55])
    _, phi = gradients(predictor, molecules, rows)
    batch = molecules.batch(rows)
    for k in range(len(kinds)):
        for m in range(2):
            predictor.zero_grad()
            graph = batch.graph(predictor.cutoff)
            predictor.standardised(batch.z, batch.pos, graph)[m, k].backward()
            own = [predictor.heads.out_weight.grad[k], predictor.heads.out_bias.grad[k : k + 1]]
            if kinds[k] == "r2":
                own += [predictor.heads.out_weight.grad[4], predictor.heads.out_bias.grad[4:]]
            expected = torch.cat(own).double()
            torch.testing.assert_close(phi[m, k, : len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_models_are_trained_and_measured(script, small_data, tmp_path, monkeypatch, capsys):
    """Some steps on some molecules, from training to the tables."""
    monkeypatch.setenv("MOLGEO_DATA", str(small_data))
    third = torch.arange(61).split([31, 15, 15])
    for kind in list(script.SPLITS):
        monkeypatch.setitem(script.SPLITS, kind, lambda data: Split(*third))
        monkeypatch.setitem(script.STEPS, kind, 2)
    monkeypatch.setitem(script.RECIPE, "batch_size", 8)
    monkeypatch.setattr(script, "_is_new", lambda data, split: torch.arange(15) < 12)
    for kind in script.SPLITS:
        script.main(["train", kind, "--folder", str(tmp_path)])
    script.main(["measure", "--folder", str(tmp_path), "--json", str(tmp_path / "out.json")])
    results = json.loads((tmp_path / "out.json").read_text())
    for kind, calibrated in (("size", [15, 15]), ("scaffold", [15, 12])):
        assert results[kind]["calibrated"] == calibrated
        assert results[kind]["after"]["gap_eV"]["n"] == 15
        assert 0.0 <= results[kind]["before"]["mu_debye"]["within_90"] <= 1.0
    assert "| gap_eV |" in capsys.readouterr().out
