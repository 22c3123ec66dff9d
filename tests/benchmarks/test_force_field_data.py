"""The recipe of the force-field data: parts by scaffold, packs and labels that come back whole."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "force_field_data"


@pytest.fixture
def here(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def some_structures(rng):
    n = np.array([3, 2, 30, 4], np.uint8)
    atoms = int(n.sum())
    steps = rng.integers(-16383, 16384, (atoms, 3)).astype(np.int16)
    z = rng.choice([1, 6, 8, 35], atoms).astype(np.uint8)
    return {"n": n, "z": z, "steps": steps}


def test_positions_come_back_whole(here):
    from label_gpu import STEP, pack_positions, unpack_positions

    one = some_structures(np.random.default_rng(0))
    back = unpack_positions(*pack_positions(one["steps"], one["n"]), one["n"])
    assert np.array_equal(back, (one["steps"].astype(np.int64) * STEP).astype(np.float32))


def test_labels_come_back_whole(here, tmp_path):
    import label_gpu

    rng = np.random.default_rng(1)
    n = some_structures(rng)["n"]
    f = (5.0 * rng.standard_normal((int(n.sum()), 3))).astype(np.float32)
    f[5:35] *= 20.0  # the third is torn at
    spread = np.array([0.1, 0.2, 0.1, 3.0])
    labels = {"e": rng.standard_normal(4) * 1e5, "f": f, "spread": spread, "e_std": spread}
    verdict = label_gpu.judge(n, labels)
    assert [label_gpu.REASONS[k] for k in verdict] == ["kept", "kept", "force", "spread"]
    label_gpu.write_labels(tmp_path, n, labels, verdict)
    back, again = label_gpu.read_labels(tmp_path, n)
    assert np.array_equal(again, verdict)
    assert np.array_equal(back["e"], labels["e"])
    assert np.abs(back["f"][:5] - f[:5]).max() <= 0.5 * label_gpu.FORCE_STEP + 1e-6
    with pytest.raises(ValueError, match="not of this pack"):
        label_gpu.read_labels(tmp_path, n[:2])


def test_every_structure_is_in_one_batch_that_holds_it(here):
    from label_gpu import batches

    n = np.random.default_rng(2).integers(2, 91, 500)
    found = batches(n, 400, 10_000)
    assert sorted(np.concatenate([rows for _, rows, _ in found]).tolist()) == list(range(500))
    for size, rows, full in found:
        assert n[rows].max() <= size
        assert len(rows) <= full <= max(1, 400 // size)
    assert len({(size, full) for size, _, full in found}) <= 25


def test_a_part_is_of_the_scaffold_alone(here):
    from molecules import part, scaffold

    one, other = (Chem.MolFromSmiles(s) for s in ("Cc1ccc2ccccc2c1Br", "OCc1cccc2ccccc12"))
    assert scaffold(one) == scaffold(other)
    assert scaffold(Chem.MolFromSmiles("CC(=O)[O-]")) == scaffold(Chem.MolFromSmiles("[O-]C(C)=O"))
    many = [f"scaffold {k}" for k in range(3000)]
    parts = [part(key, frozenset()) for key in many]
    assert 0.04 < parts.count("test") / 3000 < 0.07
    assert 0.02 < parts.count("validation") / 3000 < 0.04
    assert {part(key, frozenset(many)) for key in many} == {"train"}


def test_the_lists_are_of_the_elements_and_closed_shells(here):
    from molecules import read, usable

    for path in FOLDER.glob("*.smi"):
        smiles = read(path)
        assert len(set(smiles)) == len(smiles)
        assert [s for s in smiles if usable(s) is None] == []


def test_a_change_brings_in_another_element(here):
    from molecules import changed

    rng = np.random.default_rng(0)
    made = [changed("CCOC(=O)CN", rng) for _ in range(60)]
    elements = {a.GetSymbol() for s in made if s for a in Chem.MolFromSmiles(s).GetAtoms()}
    assert elements >= {"B", "Si", "P", "S", "Cl", "Br", "F"}


def test_a_share_is_kept(here):
    from molecules import balanced, unique

    pool = [f"{'C' * k}O" for k in range(1, 60)] + ["CB(O)O", "CS", "CP", "C[Si](C)(C)C", "CI"]
    pool += ["CCl", "CBr", "C[NH3+]", "C[O-]"]
    drawn = balanced(unique(pool), 400, np.random.default_rng(0))
    assert 0.02 < sum("B(" in s or ("B" in s and "Br" not in s) for s in drawn) / len(drawn) < 0.1
    assert max(drawn.count(s) for s in drawn) <= 40
