"""Tables as people have them: each is fitted, or refused with a sentence that helps."""

import csv

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from torch_geometric.data import Data

import molgeo
from molgeo.fitting.preparing import given, prepared
from molgeo.fitting.run import fit_table
from molgeo.predictor.checkpoint import load
from molgeo.runtime.errors import InputError, SettingError


@pytest.fixture
def prepare(quick):
    """The rows that a fit would learn from, without the fit."""

    def made(path, **fields):
        settings = quick(**fields)
        return prepared(given(path, settings), settings)

    return made


def test_a_third_of_the_rows_cannot_be_read(table, quick, capsys):
    bad = [("C(C", 1.0)] * 10 + [("not a molecule", 2.0)] * 10 + [("CCC", "n/a")] * 8
    fitted = fit_table(table(more=bad), quick())
    err = capsys.readouterr().err
    assert "28 rows are set aside: " in err
    assert "; 8: no value of y" in err
    page = (fitted.path.parent / "report.html").read_text()
    assert "<li>28 rows are set aside: " in page
    with (fitted.path.parent / "set_aside.csv").open(newline="") as file:
        aside = list(csv.DictReader(file))
    assert len(aside) == 28
    assert all(row["message"] for row in aside)


def test_molecules_of_all_kinds(table, prepare, capsys):
    """Elements that the start knows and others, ions, metals, salts, 200 atoms."""
    ok = [
        "CS(=O)(=O)Cl",
        "BrCI",
        "CP(C)C",
        "OB(O)c1ccccc1",
        "C[Si](C)(C)C",
        "C[NH3+]",
        "CC(=O)[O-]",
    ]
    ok += ["C" * 65, "C[Se]C"]
    bad = ["[Na+].[Cl-]", "CC.O", "[Fe]", "C" * 400]
    made = prepare(table(more=[(one, 1.5) for one in [*ok, *bad]]), from_scratch=False)
    err = capsys.readouterr().err
    learned = {
        row.smiles
        for row, exists in zip(made.data.table.rows, made.data.geometries.exists, strict=True)
        if exists
    }
    assert set(ok) <= learned
    reasons = {row.smiles: row.message for row in made.data.table.aside}
    assert "fragments" in reasons["[Na+].[Cl-]"]
    assert "fragments" in reasons["CC.O"]
    assert "atoms" in reasons["C" * 400]
    assert "has never seen Fe, Se: what it knows of these elements is learned from" in err
    charges = made.data.geometries.molecules.charge
    assert charges.unique().tolist() == [-1, 0, 1]


def test_salts_may_be_stripped(table, prepare):
    made = prepare(table(more=[("[Na+].CC(=O)[O-]", 1.5)]), strip_salts=True)
    assert "CC(=O)O" in {row.smiles for row in made.data.table.rows}


def test_duplicates_are_averaged_and_contradictions_named(table, prepare, capsys):
    more = [
        ("CCCCCCCCCC", 10.0),
        ("C(CCCCCCCCC)", 11.0),
        ("CCCCCCCCCCC", 0.0),
        ("CCCCCCCCCCC", 900.0),
    ]
    made = prepare(table(more=more))
    err = capsys.readouterr().err
    assert "y: 2 molecules are in more than one row; the values are averaged" in err
    assert "the values of 1 of them contradict each other: CCCCCCCCCCC (0, 900)" in err
    values = dict(
        zip((row.smiles for row in made.data.table.rows), made.data.table.values[:, 0], strict=True)
    )
    assert values["CCCCCCCCCC"] == 10.5
    assert "C(CCCCCCCCC)" not in values


def test_a_column_that_says_train_and_test(table, prepare, capsys):
    path = table(
        ("smiles", "y", "set"),
        lambda k, smiles, y: (smiles, y, "test" if k % 5 == 0 else "train"),
        more=[("CCCCCCCCCC", 1.0, "train"), ("CCCCCCCCCC", 1.0, "test")],
    )
    made = prepare(path, split="set")
    assert len(made.data.folds.test) == 14
    err = capsys.readouterr().err
    assert "1 molecule is in the test part and in the training part, such as CCCCCCCCCC" in err


def test_a_column_without_test_rows(table, prepare, capsys):
    path = table(("smiles", "y", "set"), lambda k, smiles, y: (smiles, y, "train"))
    assert len(prepare(path, split="set").data.folds.test) == 0
    assert "set: no row is called test: errors are those of the folds" in capsys.readouterr().err
    path = table(("smiles", "y", "set"), lambda k, smiles, y: (smiles, y, "A"))
    with pytest.raises(InputError, match=r"mine\.csv: no row can be used; the first: set: exp"):
        prepare(path, split="set")


def test_a_homologous_series(table, prepare, capsys):
    """Of one scaffold: it cannot be divided by these."""
    path = table(cells=lambda k, smiles, y: ("C" * (k + 1), y))
    made = prepare(path)
    assert "the rows are of one or two scaffolds: the split is random" in capsys.readouterr().err
    assert not made.data.folds.by_scaffold
    assert made.base.split == "random"
    assert len(made.data.folds.test)


def test_too_few_of_a_class(table, prepare):
    path = table(cells=lambda k, smiles, y: (smiles, "yes" if k < 3 else "no"))
    with pytest.raises(InputError, match="y: expected at least 10 molecules of each class, got 3 "):
        prepare(path)


def test_two_columns_of_smiles(table, quick, capsys):
    def cells(k, smiles, y):
        return smiles, "C" * (k % 8 + 1) + "S" + "C" * (k // 8 + 1) + "O", y

    path = table(("smiles", "product_smiles", "y"), cells)
    first = given(path, quick()).rows[0].smiles
    err = capsys.readouterr().err
    assert "'product_smiles' has SMILES too; --smiles says which column to take" in err
    assert first != "CSCO"
    assert given(path, quick(smiles="product_smiles")).rows[0].smiles == "CSCO"


def test_too_few_that_can_be_used(table, prepare):
    path = table(cells=lambda k, smiles, y: (smiles if k < 30 else "C(", y))
    with pytest.raises(
        InputError, match=r"at least 50 molecules with a value, got 30, 31 rows being"
    ):
        prepare(path)


def test_missing_values_of_one_of_two_targets(table, quick, molecules):
    path = table(
        ("smiles", "y", "n (atoms)"),
        lambda k, smiles, y: (smiles, y if k % 10 else "", len(smiles) / 2),
    )
    model = load(fit_table(path, quick(target="y,n", pooling="sum")).path)
    assert [(one.name, one.unit) for one in model.properties] == [("y", ""), ("n", "atoms")]
    assert model.header.metrics.mae.keys() == {"y", "n_atoms"}
    assert {"y", "n"} == set(model.header.calibration[0].scales)


def frames():
    """Molecules with coordinates that are no minimum, and values."""
    made = []
    random = np.random.RandomState(0)
    for k in range(60):
        atoms = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        atoms.rattle(0.02, rng=random)
        atoms.info["y"] = float(atoms.get_distance(0, 1) + 0.001 * k)
        made.append(atoms)
    return made


def test_coordinates_as_given(quick, tmp_path, capsys):
    ase.io.write(tmp_path / "water.extxyz", frames())
    fitted = fit_table(tmp_path / "water.extxyz", quick(pooling="mean"))
    model = load(fitted.path)
    assert "split one by one" in capsys.readouterr().err
    assert "the composition baseline" in fitted.lines[0] or "the mean of" in fitted.lines[0]
    assert "molecules of the test part, at random: MAE" in fitted.lines[1]
    assert ", by random, seed" in model.header.split
    assert [one.conformers for one in model.header.calibration] == [0]
    assert model.header.geometry == "given"
    found = molgeo.predict(tmp_path / "water.extxyz", model)
    assert found.y_std.gt(0).all()


def test_a_list_of_data(quick):
    items = [
        Data(
            z=torch.tensor(one.numbers),
            pos=torch.tensor(one.positions),
            y=torch.tensor([one.info["y"]]),
        )
        for one in frames()
    ]
    fitted = fit_table(items, quick(pooling="mean", members=1, epochs=1))
    assert fitted.path.parent.name == "table"


def test_the_length_of_a_vector(table, quick, prepare):
    path = table(cells=lambda k, smiles, y: (smiles, y - 40))
    with pytest.raises(SettingError, match="dipole is the length of a vector, and some values are"):
        prepare(path, pooling="dipole")
    model = load(fit_table(table(), quick(pooling="dipole", epochs=1)).path)
    assert model.properties[0].minimum == 0
    assert model(torch.tensor([6, 1, 1, 1, 1]), _METHANE)["y"].detach() < 1e-3


_METHANE = 0.63 * torch.tensor([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])


def test_classes(table, quick):
    path = table(
        ("smiles", "active"), lambda k, smiles, y: (smiles, "yes" if "N" in smiles else "no")
    )
    fitted = fit_table(path, quick(target="active"))
    assert any("ROC-AUC" in line for line in fitted.lines)
    model = load(fitted.path)
    assert model.properties[0].is_probability
    assert model.header.calibration == []
    found = molgeo.predict(["CCO", "CCN"], model)
    assert found.active.between(0, 1).all()
    assert "active_std" not in found
    assert 0 <= model.header.metrics.roc_auc["active"] <= 1
