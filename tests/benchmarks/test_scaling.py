"""Systems are what they say, and the scaling benchmark writes what it measures."""

import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MOLGEO_DATA", str(tmp_path / "empty"))
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("n", [64, 216])
def test_water_has_its_density_and_no_contacts(n: int) -> None:
    from systems import water_box

    box = water_box(n)
    assert box.z.tolist() == [8, 1, 1] * n
    grams = n * 18.01528 / 6.02214076e23
    assert float(grams / (torch.linalg.det(box.cell[0]) * 1e-24)) == pytest.approx(0.997, rel=1e-4)
    graph = box.graph(3.0)
    d = graph.distances(box.pos)
    a, b = graph.source[graph.forward], graph.target[graph.forward]
    within = a // 3 == b // 3
    assert torch.allclose(
        d[within & ((a % 3 == 0) | (b % 3 == 0))], torch.tensor(0.9572), atol=1e-4
    )
    assert d[~within].min() > 0.8
    assert 48 < box.graph(5.0).n_edges / len(box.z) < 58


@pytest.mark.parametrize("n", [100, 1000])
def test_chain(n: int) -> None:
    from systems import chain

    molecule = chain(n)
    assert len(molecule.z) == len(molecule.pos) == n
    carbon = int((molecule.z == 6).sum())
    assert int((molecule.z == 1).sum()) == 2 * carbon + 2
    d = molecule.graph(5.0).distances(molecule.pos)
    assert d.min() > 0.9
    assert torch.equal(molecule.pos, chain(n).pos)


def test_chain_of_another_length_is_refused() -> None:
    from systems import chain

    with pytest.raises(ValueError, match="3n"):
        chain(99)


def test_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import scaling
    import sides

    for name, value in {"n_blocks": 1, "n_spherical": 2, "n_radial": 2}.items():
        monkeypatch.setitem(sides.FIELDS["dimenet_pp"], name, value)
    one = ["--threads", "1", "--repeats", "1", "--device", "cpu", "--out", str(tmp_path)]
    sizes = ["--atoms", "9", "13", "--waters", "8", "--cutoffs", "3", "4"]
    scaling.main([*one, *sizes, "--neighbour-waters", "8", "--forms", "gram", "reference"])
    report = json.loads((tmp_path / "scaling.json").read_text())
    assert [row["atoms"] for row in report["atoms"]] == [9, 9, 13, 13, 24, 24]
    for row in report["atoms"]:
        assert 0 < row["difference"] < scaling.TOLERANCE
        assert row["ms"]["molgeo"]["median"] > 0
        assert row["peak_mb"]["pyg"] > 0
    assert len(report["neighbours"]) == 4
    for name in ("scaling_atoms.png", "scaling_neighbours.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_pyg_is_left_out_where_it_would_not_fit(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import scaling

    one = ["--threads", "1", "--repeats", "1", "--device", "cpu", "--out", str(tmp_path)]
    sizes = ["--models", "schnet", "--atoms", "9", "--waters", "--cutoffs", "--pyg-gb", "0"]
    (row,) = scaling.main([*one, *sizes])["atoms"]
    assert "pyg" not in row["ms"]
    assert "GB" in row["pyg_skipped"]
