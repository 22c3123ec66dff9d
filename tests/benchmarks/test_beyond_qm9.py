"""The reference outside QM9: what it consists of, its level of theory, and how it is told."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("rdkit")

from rdkit import Chem, RDLogger

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "beyond_qm9"
NAMES = ("draw", "evaluate", "label", "labelled", "level", "record")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield FOLDER
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def molecules() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "molecules.csv", keep_default_na=False)


def labels() -> list[dict]:
    return [json.loads(line) for line in (FOLDER / "labels.jsonl").read_text().splitlines()]


def test_there_are_as_many_molecules_as_the_readme_says(molecules: pd.DataFrame) -> None:
    assert molecules["set"].value_counts().to_dict() == {
        "drug": 168,
        "small": 104,
        "conjugated": 55,
        "qm9": 20,
    }
    assert set(molecules["part"]) == {"calibration", "check"}
    assert set(molecules.loc[molecules["set"] == "qm9", "part"]) == {"check"}


def test_molecules_are_neutral_closed_shell_and_different(molecules: pd.DataFrame) -> None:
    RDLogger.DisableLog("rdApp.*")
    found = {}
    for name, kind, smiles in molecules[["name", "set", "smiles"]].itertuples(index=False):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert {a.GetSymbol() for a in mol.GetAtoms()} <= set("HCNOF"), name
        assert Chem.GetFormalCharge(mol) == 0, name
        assert not any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()), name
        assert sum(a.GetAtomicNum() for a in mol.GetAtoms()) % 2 == 0, name
        heavy = mol.GetNumHeavyAtoms()
        assert {"drug": 10 <= heavy <= 16, "small": heavy <= 3}.get(kind, heavy <= 18), name
        key = Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False)
        assert found.setdefault(key, name) == name
    assert molecules["name"].is_unique


def test_labels_belong_to_molecules_and_geometries(molecules: pd.DataFrame) -> None:
    ase_io = pytest.importorskip("ase.io")
    geometries = {one.info["name"]: one for one in ase_io.iread(FOLDER / "geometries.extxyz", ":")}
    smiles = dict(zip(molecules["name"], molecules["smiles"], strict=True))
    assert geometries.keys() <= smiles.keys()
    for name, atoms in geometries.items():
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles[name]))
        assert sorted(atoms.symbols) == sorted(a.GetSymbol() for a in mol.GetAtoms()), name
    for row in labels():
        assert geometries[row["name"]].info["state"] == "ok"
        if "gap_eV" in row:
            assert row["gap_eV"] == pytest.approx(row["lumo_eV"] - row["homo_eV"], abs=2e-6)
            assert row["gap_eV"] > 0 <= row["mu_debye"]


def test_small_molecules_are_all_of_those_valences(folder: Path) -> None:
    import draw

    found = set(draw.small())
    assert {"C", "N", "O", "F", "CC", "C=C", "C#C", "N=N", "OO", "FF"} <= found
    assert {"C1CC1", "C1=CC1", "C=C=C", "CC#N", "O=C=O", "N=C=O", "C1N=N1"} <= found
    assert len(found) == len({Chem.CanonSmiles(one) for one in found})
    assert not {"O=O", "[C]", "C1#CC1"} & found
    # Two heavy atoms: CC CN CO CF NN NO NF OO OF FF, C=C C=N C=O N=N N=O, C#C C#N N#N; and CO.
    two = [one for one in found if Chem.MolFromSmiles(one).GetNumHeavyAtoms() == 2]
    neutral = [one for one in two if "+" not in one]
    assert len(neutral) == 10 + 5 + 3


def long_rows(errors: list[float], flagged: list[float]) -> pd.DataFrame:
    """Rows of one property at label 0, with std 1 and an interval of ± 2."""
    n = len(errors)
    return pd.DataFrame(
        {
            "name": [f"drug_{k}" for k in range(n)],
            "set": "drug",
            "property": "gap_eV",
            "label": 0.0,
            "value": errors,
            "error": np.abs(errors),
            "std": 1.0,
            "low": np.array(errors) - 2,
            "high": np.array(errors) + 2,
            "flagged": flagged,
        }
    )


def test_statistics_of_made_up_rows(folder: Path) -> None:
    import evaluate

    errors = [0.1 * k for k in range(30)]  # 0 … 2.9, of which 11 reach 1 and 21 reach 2
    rows = long_rows(errors, [float(e > 2.35 and e != errors[-1]) for e in errors])
    found = evaluate.statistics(rows)
    assert found["n"] == 30
    assert found["mae"] == pytest.approx(1.45)
    assert found["median"] == pytest.approx(1.45)
    assert found["within_std"] == pytest.approx(11 / 30)
    assert found["within_90"] == pytest.approx(21 / 30)
    assert found["half_width_90"] == pytest.approx(2)
    assert found["flagged"] == pytest.approx(5 / 30)
    assert found["worst_tenth_flagged"] == pytest.approx(2 / 3)  # of 2.7, 2.8, 2.9 the last not
    assert found["mae_flagged"] == pytest.approx(2.6)
    assert found["mae_unflagged"] == pytest.approx((sum(errors) - 13) / 25)


def test_statistics_say_nothing_of_what_is_not_there(folder: Path) -> None:
    import evaluate

    rows = long_rows([0.5, 1.5], [np.nan, np.nan])
    rows[["std", "low", "high"]] = np.nan
    found = evaluate.statistics(rows)
    assert found["mae"] == pytest.approx(1.0)
    absent = {key for key, value in found.items() if value is None}
    assert absent == {
        *("within_std", "within_90", "half_width_90"),
        *("flagged", "worst_tenth_flagged", "mae_flagged", "mae_unflagged"),
    }


def test_one_sided_intervals_have_one_end(folder: Path) -> None:
    import evaluate

    rows = long_rows([0.5, 3.0], [0.0, 1.0])
    rows["low"] = np.nan
    assert evaluate.statistics(rows)["within_90"] == 1.0
    rows["high"] = [-0.1, 1.0]
    assert evaluate.statistics(rows)["within_90"] == 0.5


def test_predictions_are_compared_by_place(folder: Path) -> None:
    import evaluate

    names = [*evaluate.COLUMNS, "set"]
    truth = pd.DataFrame(
        [[5.0, -6.0, -1.0, 1.0, np.nan, 100.0, -500.0, "drug"]] * 2, ["a", "b"], names
    )
    table = pd.DataFrame({column: [1.0, None] for column in evaluate.COLUMNS})
    table["alpha_bohr3"] = 2.0
    table["in_domain"] = [False, None]
    table["gap_eV_std"] = [0.5, None]
    long = evaluate.compared(truth, table)
    assert set(long["name"]) == {"a"}  # b failed
    assert "alpha_bohr3" not in set(long["property"])  # has no label
    gap = long[long["property"] == "gap_eV"].iloc[0]
    assert (gap["error"], gap["std"], gap["flagged"]) == (4.0, 0.5, 1.0)
    found = evaluate.by_set(long)
    assert found["energy_eV"]["drug"]["mae"] == 501.0
    assert found["energy_eV"]["outside"] == found["energy_eV"]["drug"]


def test_a_header_is_told_of_the_sets_that_qm9_lacks(folder: Path) -> None:
    import evaluate
    import record

    from molgeo.predictor.header import Outside

    rows = long_rows([0.5, 1.5, 3.0], [0.0, 0.0, 1.0])
    energy = rows.assign(property=evaluate.ENERGY, set="small")
    known = rows.assign(set="qm9", name=[f"qm9_{k}" for k in range(3)])
    by = evaluate.by_set(pd.concat([rows, energy, known]))
    told = record.facts({"by": by, "refused": {"drug_9": "no"}, "models": {}}, "smiles")
    assert Outside(**told).n == 6  # three of drug, three of small, none of qm9
    assert told["mae"] == {"gap_eV": pytest.approx(5 / 3), "u0_eV": pytest.approx(5 / 3)}
    assert told["coverage"]["gap_eV"] == {
        "std": pytest.approx(1 / 3),
        "low90_high90": pytest.approx(2 / 3),
    }
    assert told["flagged"] == pytest.approx(1 / 3)
    assert told["worst_flagged"] == {"gap_eV": 1.0, "u0_eV": 1.0}
    assert (told["failed"], told["geometry"]) == (1, "smiles")
    assert told["source"].startswith("3 drug fragments of 10 to 16 heavy atoms, 3 of up to three")


def test_the_readme_says_what_the_headers_say(folder: Path) -> None:
    import record

    found = record.BLOCK.search(record.README.read_text())
    assert found is not None
    assert found[0] == record.readme_table()


WATER = ("OHH", [[0, 0, 0.1178], [0, 0.7555, -0.4712], [0, -0.7555, -0.4712]])
CYANIDE = (
    "CNH",
    [
        [-0.013324, 1.132466, 0.008276],
        [0.002311, -0.019159, 0.001929],
        [-0.027803, 2.198949, 0.014154],
    ],
)


def test_level_repeats_exact_integrals(folder: Path) -> None:
    pytest.importorskip("pyscf")
    from level import Level

    symbols, positions = WATER
    level = Level(list(symbols), np.array(positions))
    found = level.solve()
    # PySCF: integrals without fitting, grid 5, converged to 1e-11 Hartree; α from the same fields.
    assert found.energy == pytest.approx(-76.426045, abs=5e-5)
    assert found.homo == pytest.approx(-0.293018, abs=5e-5)
    assert found.lumo == pytest.approx(0.069827, abs=5e-5)
    assert np.linalg.norm(found.dipole) == pytest.approx(0.725324, abs=1e-4)
    assert found.r2 == pytest.approx(18.944501, abs=1e-3)
    assert level.polarizability(found) == pytest.approx(6.27301, abs=0.03)


def test_labels_repeat_those_of_qm9(folder: Path) -> None:
    pytest.importorskip("pyscf")
    from label import Task
    from label import labels as labels_of

    symbols, positions = CYANIDE
    found = labels_of(list(symbols), np.array(positions), Task(folder, True, False))
    # QM9's own, of dsgdb9nsd_000005; its energy is U0 − ZPVE.
    assert found["energy_eV"] == pytest.approx(-2542.3187, abs=0.003)
    assert found["homo_eV"] == pytest.approx(-9.80698, abs=0.003)
    assert found["gap_eV"] == pytest.approx(10.32944, abs=0.003)
    assert found["mu_debye"] == pytest.approx(2.8937, abs=0.003)
    assert found["r2_bohr2"] == pytest.approx(48.7476, abs=0.01)
    assert found["alpha_bohr3"] == pytest.approx(12.99, abs=0.05)
    rough = labels_of(list(symbols), np.array(positions), Task(folder, False, True))
    assert rough["gap_eV"] == pytest.approx(found["gap_eV"], abs=0.15)


def test_what_was_killed_is_done_by_the_next_run(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyscf")
    import label

    (tmp_path / ".claims").mkdir()
    one = "drug_000.gap_eV"
    with label.claim(tmp_path, one) as is_first, label.claim(tmp_path, one) as is_second:
        assert (is_first, is_second) == (True, False)
    with label.claim(tmp_path, one) as is_next:  # its claim ended, as with its process
        assert is_next
    rows = [{"name": "a", "gap_eV": 1.0}, {"name": "b", "state": "the calculation …"}]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gaps, alphas = (label.Task(tmp_path, with_alpha, False) for with_alpha in (False, True))
    assert [gaps.is_left(name) for name in "abc"] == [False, False, True]
    assert [alphas.is_left(name) for name in "abc"] == [True, False, True]
    assert label.Task(tmp_path, False, True).is_left("a")
