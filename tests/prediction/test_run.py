import hashlib
import json
import sys
import threading

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.build import molecule as g2
from force_fields import force_field
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.data.qm9.properties import NAMES, PROPERTIES, named
from molgeo.prediction import predict, predict_rows
from molgeo.prediction import run as module
from molgeo.prediction.batches import BatchPredictor
from molgeo.prediction.conformer_average import conformer_average
from molgeo.prediction.rows import ROW_COLUMNS
from molgeo.prediction.settings import PredictSettings
from molgeo.predictor.calibration import Calibration, Scale
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_OUTSIDE,
    DEFAULT_SMILES_MODEL,
    find,
    geometry_engine,
    load,
)
from molgeo.predictor.domain import Domain
from molgeo.predictor.familiarity import Judged
from molgeo.predictor.header import Facts
from molgeo.runtime.errors import InputError

PROPERTY_COLUMNS = [known.column for known in PROPERTIES.values()]
ATOMIZATION = [f"{name}_atomization_eV" for name in ("u0", "u298", "h298", "g298")]
FIRST = len(ROW_COLUMNS)
"""Number of the first column of a property."""
SOME = ["CCO", "C", "c1ccccc1O", "O", "CC(=O)N", "C#N"]


class StandIn(torch.nn.Module):
    """A gap that is the number of atoms, or NaN on the batches that a test names."""

    name, cutoff, domain = "stand-in", 5.0, None
    properties, property_names, outputs = named(["gap"]), ("gap",), {"gap": PROPERTIES["gap"]}

    def __init__(self, is_nan=lambda z: False):
        super().__init__()
        self.is_nan = is_nan
        self.header = Facts()
        self.batches = []

    def forward(self, z, pos, batch):
        self.batches.append(batch.bincount().tolist())
        sizes = batch.bincount().double()
        if self.is_nan(z):
            sizes = sizes + torch.nan
        return {"gap": sizes}

    def judged(self, z, pos, batch, graph=None):
        values = self(z, pos, batch)
        return Judged(values, torch.zeros(len(values["gap"]), 1), None)


def failures(table):
    return table.message[table.status == "error"].tolist()


def test_columns_are_the_contract(model):
    table = predict(["CCO"], model)
    assert list(table) == [*ROW_COLUMNS, *PROPERTY_COLUMNS, *ATOMIZATION]
    assert ",".join(ROW_COLUMNS) == (
        "id,name,input,smiles,formula,n_atoms,geometry,stereo,status,message,"
        "in_domain,domain_reason,model,model_sha256,level_of_theory"
    )


def test_rows_describe_their_molecules(model):
    table = predict(SOME, model)
    molecules = [Chem.AddHs(Chem.MolFromSmiles(smiles)) for smiles in SOME]
    assert table.id.tolist() == list(range(len(SOME)))
    assert table.smiles.tolist() == table.input.tolist() == SOME
    assert table.formula.tolist() == [CalcMolFormula(mol) for mol in molecules]
    assert table.n_atoms.tolist() == [mol.GetNumAtoms() for mol in molecules]
    assert set(table.geometry) == {"etkdg+mmff"}
    assert set(table.status) == {"ok"}
    assert set(table.message) == {""}
    assert set(table.model) == {"toy"}


def test_spellings_and_mirror_images_have_the_same_values(model):
    same = ["C[C@H](N)C(=O)O", "OC(=O)[C@H](C)N", "N[C@@H](C)C(O)=O", "[H]OC(=O)[C@@]([H])(N)C"]
    alone = [predict(smiles, model, conformers=2).iloc[0] for smiles in same]
    together = predict([*same, *SOME], model, conformers=2)
    columns = [name for name in together.columns if name not in ("id", "input", "smiles")]
    for row in alone[1:]:
        assert row[columns].to_dict() == alone[0][columns].to_dict()
    for k in range(1, len(same)):
        assert together.loc[k, columns].to_dict() == together.loc[0, columns].to_dict()


def test_a_molecule_is_predicted_once_however_often_it_is_named():
    stand_in = StandIn()
    table = predict(["CCO", "C", "OCC", "[CH3][CH2]O"], stand_in, conformers=2)
    assert table.gap_eV.tolist() == [9.0, 5.0, 9.0, 9.0]
    assert sorted(size for batch in stand_in.batches for size in batch) == [5, 5, 9, 9]


def test_open_stereo_is_told(model):
    table = predict(["OC(=O)C=CC(=O)O", "CCO", "X", Atoms("He")], model)
    assert table.stereo.tolist() == ["1 open, predicted O=C(O)/C=C/C(=O)O", "", "", ""]
    assert predict("OC(=O)/C=C/C(O)=O", model).gap_eV[0] == table.gap_eV[0]


def test_a_row_per_isomer(model):
    table = predict(["CC=CC", "CCO", "CC(O)C(O)C"], model, conformers=1, enumerate_stereo=True)
    assert table.id.tolist() == [0, 1, 2, 3, 4]
    assert table.input.tolist() == ["CC=CC", "CC=CC", "CCO", "CC(O)C(O)C", "CC(O)C(O)C"]
    assert table.smiles.tolist()[:3] == ["C/C=C/C", "C/C=C\\C", "CCO"]
    assert table.stereo.tolist() == [""] * 5
    one, other = table.gap_eV[:2]
    assert predict("CC=CC", model, conformers=1).gap_eV[0] == one != other


def test_limits_of_a_row_are_settings(model):
    table = predict(["CCO", "CCCC"], model, conformers=1, max_atoms=10)
    (message,) = failures(table)
    assert message.startswith("14 atoms with hydrogens: conformers are made up to 10 atoms")
    (message,) = failures(predict("CCCC", model, max_seconds=1e-6))
    assert message.startswith("no conformers within 1e-06 s")
    (message,) = failures(predict("CCCC", model, max_memory=0.05))
    assert "conformers take some 0 MB, but 0.05 MB are allowed" in message


def test_a_molecule_outside_the_domain_is_not_embedded(model, monkeypatch):
    monkeypatch.setattr("molgeo.chem.conformers.conformers.conformers", None)
    monkeypatch.setattr(model, "domain", Domain((1, 6), 9, 0.9))
    table = predict(["CCO", "C[CH2-]"], model)
    assert failures(table) == [
        "element O is outside the model's domain: it was trained on H, C only",
        "charge -1 is outside the model's domain: it was trained on molecules of charge 0 only",
    ]
    assert table.formula.tolist() == ["C2H6O", "C2H5-"]


def test_values_are_the_models_own(model):
    atoms = g2("CH3CH2OH")
    row = predict(atoms, model).iloc[0]
    pos = torch.tensor(atoms.positions - atoms.positions.mean(0), dtype=torch.float32)
    expected = model(torch.tensor(atoms.numbers), pos, torch.zeros(9, dtype=torch.long))
    assert row.geometry == "given"
    for key in NAMES:
        known = PROPERTIES[key]
        assert expected[key].item() >= known.minimum
        assert row[known.column] == pytest.approx(expected[key].item(), rel=1e-6, abs=1e-6)
    assert row.u0_atomization_eV == pytest.approx(expected["u0_atomization"].item(), abs=1e-4)


def test_batches_agree_with_singles_and_keep_the_order(model):
    together = predict(SOME, model)
    for k, smiles in enumerate(SOME):
        alone = predict(smiles, model)
        np.testing.assert_allclose(
            together.loc[k, PROPERTY_COLUMNS].to_numpy(float),
            alone.loc[0, PROPERTY_COLUMNS].to_numpy(float),
            rtol=1e-5,
            atol=1e-5,
        )


@pytest.mark.parametrize("batch_size", [1, 2, "3"])
def test_batch_size_is_a_bound(batch_size):
    stand_in = StandIn()
    table = predict(SOME, stand_in, batch_size=batch_size)
    batches = stand_in.batches
    assert max(map(len, batches)) == int(batch_size)
    assert table.gap_eV.tolist() == table.n_atoms.tolist()


def test_far_from_the_origin_no_digit_is_lost(model):
    atoms = g2("CH3CH2OH")
    near = predict(atoms, model)
    atoms.positions += 1e6
    far = predict(atoms, model)
    np.testing.assert_allclose(far[PROPERTY_COLUMNS], near[PROPERTY_COLUMNS], atol=1e-5)


def test_properties_can_be_chosen(model):
    table = predict(["O"], model, properties="gap, mu,u0_atomization,gap")
    assert list(table)[FIRST:] == ["gap_eV", "mu_debye", "u0_atomization_eV"]
    assert list(predict(["O"], model, properties=["mu"]))[FIRST:] == ["mu_debye"]


def test_a_property_may_be_named_by_its_column(model):
    table = predict(["O"], model, properties="mu_debye,u0_atomization_eV,mu")
    assert list(table)[FIRST:] == ["mu_debye", "u0_atomization_eV"]


def test_numbers_of_numpy_are_numbers(model):
    assert predict(["O"], model, properties="mu", conformers=np.int64(1)).status[0] == "ok"


def test_a_typo_in_a_property_names_the_nearest(model):
    with pytest.raises(InputError, match="unknown property 'mu_deby', did you mean 'mu_debye'"):
        predict(["O"], model, properties="mu_deby")
    with pytest.raises(InputError, match="unknown property 'gapp', did you mean 'gap'"):
        predict(["O"], model, properties="gapp")
    with pytest.raises(InputError, match="properties is empty"):
        predict(["O"], model, properties=[])


def test_conformers_add_their_spread(model):
    rows = ["OCCCO", "O", g2("H2O")]
    one = predict(rows, model, conformers=1)
    many = predict(rows, model, conformers=4, properties="mu,homo")
    names = ["mu_debye", "homo_eV"]
    suffixes = ("", "_conformer_std", "_lowest", "_boltzmann")
    assert list(many)[FIRST:] == [name + suffix for name in names for suffix in suffixes]
    assert many.homo_eV_conformer_std[0] > 1e-4
    assert many.homo_eV_conformer_std[1] == pytest.approx(0.0, abs=1e-4)
    about = [name for name in many if name.endswith(suffixes[1:])]
    assert many.loc[2, about].isna().all(), "a given geometry has no conformers"
    assert many.mu_debye[2] == pytest.approx(one.mu_debye[2], abs=1e-6)


@pytest.fixture
def calibrated(model):
    """The toy with made-up errors: 0.1 of the unit, a little more for eight conformers."""
    scales = {name: Scale(error=0.1, sigma=1.5, interval=3.0) for name in NAMES}
    model.header = Facts(calibration=[Calibration(n, 100, scales) for n in (2, 8)])
    yield model
    model.header = Facts()


def test_a_calibrated_model_tells_its_standard_error(calibrated):
    rows = ["OCCCO", g2("H2O")]
    table = predict(rows, calibrated, properties="mu,u0,u0_atomization")
    assert list(table)[FIRST:] == [
        name + suffix
        for name in ("mu_debye", "u0_eV", "u0_atomization_eV")
        for suffix in ("", "_std")
    ]
    assert table.loc[1, list(table)[FIRST + 1 :: 2]].isna().all(), (
        "errors were measured from SMILES"
    )
    full = predict(rows, calibrated, properties="mu,u0,u0_atomization", conformers=8)
    spread = full.mu_debye_conformer_std[0]
    assert spread > 1e-4
    assert table.mu_debye_std[0] == pytest.approx(1.5 * (0.1 + spread))
    half = (full.u0_eV_high90 - full.u0_eV_low90)[0] / 2
    assert half == pytest.approx(3.0 * (0.1 + full.u0_eV_conformer_std[0]))
    assert full.u0_eV_low90[0] + half == pytest.approx(full.u0_eV[0])
    assert full.u0_eV_std[0] == pytest.approx(full.u0_atomization_eV_std[0], abs=1e-9)


def test_fewer_conformers_than_calibrated_have_no_standard_error(calibrated):
    assert "mu_debye_std" not in predict(["O"], calibrated, conformers=1)
    assert "mu_debye_std" in predict(["O"], calibrated, conformers=3)


def test_values_are_averages_over_eight_conformers(model):
    expected = predict(["OCCCO"], model, conformers=8)
    assert predict(["OCCCO"], model).gap_eV[0] == expected.gap_eV[0]
    molecules = embed(SmilesRow("OCCCO"), 8)
    values = BatchPredictor(model).values(molecules)
    table = np.array([[v["gap"], v["u0"]] for v in values])
    average = conformer_average(table, table[:, 1])
    row = expected.iloc[0]
    found = [row["gap_eV" + s] for s in ("", "_conformer_std", "_lowest", "_boltzmann")]
    np.testing.assert_allclose(found, [part[0] for part in average[:4]], rtol=1e-6, atol=1e-6)


def test_given_geometries_and_those_of_a_smiles_have_models_of_their_own():
    """If the conformers of a SMILES are not relaxed."""
    table = predict(["CCO", g2("CH3CH2OH")], properties="gap", fast=True)
    assert table.model.tolist() == [DEFAULT_SMILES_MODEL, DEFAULT_MODEL]
    made = predict("CCO", DEFAULT_SMILES_MODEL, properties="gap", conformers=1)
    assert table.gap_eV[0] == made.gap_eV[0]
    alone = predict(g2("CH3CH2OH"), DEFAULT_MODEL, properties="gap")
    assert alone.gap_eV[0] == table.gap_eV[1]
    named = predict(["CCO", g2("CH3CH2OH")], DEFAULT_MODEL, properties="gap")
    assert named.model.tolist() == [DEFAULT_MODEL] * 2
    assert named.gap_eV[1] == pytest.approx(table.gap_eV[1], rel=1e-6)  # in another batch


def test_the_origin_of_geometries_can_be_forced(tmp_path):
    """Each is predicted by the model that knows it, and the column names it."""
    atoms = g2("CH3CH2OH")
    ase.io.write(tmp_path / "ethanol.xyz", atoms)
    tables = {
        geometry: predict([tmp_path / "ethanol.xyz"], properties="gap,mu", geometry=geometry)
        for geometry in ("auto", "given", "mmff", "smiles")
    }
    relaxed = [f"{how}+{geometry_engine()}" for how in ("given+mmff", "etkdg+mmff")]
    assert [t.geometry[0] for t in tables.values()] == [*["given"] * 2, *relaxed]
    models = [t.model[0] for t in tables.values()]
    assert models[:2] == [DEFAULT_MODEL] * 2
    assert set(models[2:]) <= {DEFAULT_MODEL, DEFAULT_OUTSIDE}
    made = predict("CCO", properties="gap,mu")
    assert tables["smiles"].gap_eV[0] == pytest.approx(made.gap_eV[0], abs=1e-4)
    assert tables["mmff"].gap_eV[0] != tables["given"].gap_eV[0]
    refused = predict("CCO", geometry="given")
    assert refused.status[0] == "error"
    assert "has no coordinates" in refused.message[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("geometry", "xtb"),
        ("conformers", 0),
        ("conformers", 2.5),
        ("conformers", "2"),
        ("batch_size", 0),
        ("batch_size", "many"),
        ("device", "abacus"),
    ],
)
def test_bad_settings_are_named(model, name, value):
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        predict(["O"], model, **{name: value})


# Bad input: each is a row in its place, and the good rows around it are as if it were not there.


def bad_row(model, source, expected):
    good = predict(["CCO", "O"], model)
    table = predict(["CCO", source, "O"], model)
    assert table.status.tolist() == ["ok", "error", "ok"]
    assert expected in table.message[1]
    assert table.loc[1, PROPERTY_COLUMNS].isna().all()
    np.testing.assert_allclose(
        table.loc[[0, 2], PROPERTY_COLUMNS], good[PROPERTY_COLUMNS], rtol=1e-5, atol=1e-5
    )
    return table.loc[1]


def test_unparsable_smiles(model):
    bad_row(model, "C1CC", "not a valid SMILES: unclosed ring")


def test_no_conformer(model):
    row = bad_row(model, "[C@@H]12C[C@H]1C2", "no conformer")
    assert (row.formula, row.n_atoms) == ("C4H6", 10)


def test_element_outside_the_domain(model):
    bad_row(model, "CBr", "element Br is outside the model's domain")


def test_charged_molecule(model):
    bad_row(model, "C[NH3+]", "charge +1 is outside the model's domain")


def test_fragment_pair(model):
    bad_row(model, "CCO.O", "2 fragments: give each on its own")


def test_radical(model):
    bad_row(model, "[CH3]", "radical")


def test_nan_coordinates(model):
    atoms = g2("H2O")
    atoms.positions[1, 1] = np.nan
    bad_row(model, atoms, "atom 2 (H) are not finite")


def test_coincident_atoms(model):
    atoms = g2("H2O")
    atoms.positions[2] = atoms.positions[1]
    bad_row(model, atoms, "atoms 2 (H), 3 (H) are 0.000 Å apart")


def test_atoms_closer_than_any_in_training(model):
    atoms = g2("H2O")
    atoms.positions[1] *= 0.6
    bad_row(model, atoms, "outside the model's domain")


def test_zero_atoms(model):
    bad_row(model, Atoms(), "no atoms")


def test_not_a_molecule_at_all(model):
    bad_row(model, None, "cannot read a NoneType")


def test_periodic_structure(model):
    bad_row(model, Atoms("He", cell=[3, 3, 3], pbc=True), "periodic")


def test_truncated_xyz(model, tmp_path):
    path = tmp_path / "a.xyz"
    ase.io.write(path, [g2("H2O"), g2("CH4")], format="xyz")
    path.write_text("\n".join(path.read_text().splitlines()[:-2]))
    table = predict([path, "O"], model)
    assert table.status.tolist() == ["ok", "error", "ok"]
    assert "truncated frame, expected 5 atoms, the file ends after 3" in table.message[1]


def test_a_full_batch_of_bad_rows(model):
    table = predict(["C1CC", "CBr", "[CH3]", ""] * 5, model)
    assert len(table) == 20
    assert set(table.status) == {"error"}
    assert table[PROPERTY_COLUMNS].isna().all(axis=None)
    assert all(table.message)


def test_an_empty_file_is_an_error_of_the_input(model, tmp_path):
    (tmp_path / "a.xyz").touch()
    with pytest.raises(InputError, match="is empty"):
        predict(["CCO", tmp_path / "a.xyz"], model)


# A model that gives no value


def test_values_that_are_not_finite_are_errors_of_one_row_only():
    stand_in = StandIn(is_nan=lambda z: bool((z == 9).any()))
    table = predict(["C", "CF", "O"], stand_in)
    assert table.status.tolist() == ["ok", "error", "ok"]
    assert "no finite value of gap" in table.message[1]


def test_unknown_free_atoms_leave_a_gap_but_no_error(model):
    neon = Atoms("Ne")
    wide = Domain((1, 6, 7, 8, 9, 10), max_atoms=29, min_distance=0.95)
    usual, model.domain = model.domain, wide
    try:
        table = predict([neon], model)
    finally:
        model.domain = usual
    assert table.status[0] == "ok"
    assert table[PROPERTY_COLUMNS].notna().all(axis=None)
    assert table[ATOMIZATION].isna().all(axis=None)


# Streams


def test_a_hundred_thousand_lines_are_consumed_lazily():
    consumed = []

    def lines():
        for k in range(100_000):
            consumed.append(k)
            yield ([2], [[0.0, 0.0, float(k)]])

    rows = predict_rows(lines(), StandIn())
    first = next(rows)
    assert first["id"] == 0
    assert len(consumed) < 1_000
    for _ in range(2_000):
        row = next(rows)
    assert row["id"] == 2_000
    assert len(consumed) < 3_000
    rows.close()


def test_an_endless_stream_of_smiles(monkeypatch):
    monkeypatch.setitem(module._WINDOW, "cpu", 8)

    def endless():
        while True:
            yield "C"

    rows = predict_rows(endless(), StandIn())
    assert next(rows)["formula"] == "CH4"
    rows.close()


def test_windows_keep_the_order(monkeypatch):
    monkeypatch.setitem(module._WINDOW, "cpu", 3)
    sizes = [5, 1, 4, 2, 8, 3, 3, 1]
    chains = [(np.full(n, 2), np.arange(3.0 * n).reshape(n, 3)) for n in sizes]
    table = predict(chains, StandIn())
    assert table.id.tolist() == list(range(8))
    assert table.gap_eV.tolist() == sizes


def test_the_first_window_is_short_and_the_next_ones_grow():
    windows = list(module._windows(iter(range(1_000)), 512))
    assert [len(window) for window in windows] == [32, 64, 128, 256, 512, 8]
    assert [k for window in windows for k in window] == list(range(1_000))


def test_rows_before_a_vanished_file_are_kept(tmp_path):
    def sources():
        yield "C"
        yield tmp_path / "gone.smi"

    rows = predict_rows(sources(), StandIn())
    assert next(rows)["status"] == "ok"
    with pytest.raises(InputError, match="no such file"):
        next(rows)


def test_strict_stops_at_the_first_bad_row(model):
    rows = predict_rows(["C", "C1CC", "O"], model, strict=True)
    assert next(rows)["formula"] == "CH4"
    with pytest.raises(module.RowError, match=r"row 1 \(C1CC\): not a valid SMILES"):
        next(rows)


def test_strict_stops_at_the_first_row_outside_the_domain():
    rows = predict_rows(["CC1CCCCC1O", "C", "CC"], properties="gap", strict=True)
    assert next(rows)["in_domain"] is True
    with pytest.raises(module.RowError, match=r"row 1 \(C\): outside the domain of schnet-qm9-"):
        next(rows)


def test_a_table_says_where_its_numbers_come_from():
    """In plain JSON values: pandas writes attributes into Parquet files as JSON."""
    table = predict(["C", "CC1CCCCC1O", "C1CC"], properties="gap", fast=True)
    assert table.in_domain.tolist() == [False, True, pd.NA]
    assert "of 110,000 training molecules)" in table.domain_reason[0]
    assert table.domain_reason.tolist()[1:] == ["", ""]
    path = find("schnet-qm9-cheap")
    assert set(table.model_sha256) == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert set(table.level_of_theory) == {"B3LYP/6-31G(2df,p)"}
    about = {one["name"]: one for one in json.loads(json.dumps(table.attrs))["models"]}
    assert about["schnet-qm9-cheap"]["sha256"] == table.model_sha256[0]
    assert table.attrs["units"] == {"gap_eV": "eV", "gap_eV_std": "eV"}


def test_a_predictor_knows_the_file_it_was_loaded_from(tmp_path):
    loaded = load("schnet-qm9-cheap")
    row = predict(["CCO"], loaded, properties="gap").iloc[0]
    assert row.model_sha256 == loaded.sha256 != ""
    copied = tmp_path / "own.safetensors"
    copied.write_bytes(find("schnet-qm9-cheap").read_bytes())
    assert load(copied).sha256 == loaded.sha256


def test_a_data_frame_is_a_table(model):
    frame = pd.DataFrame(
        {"Name": ["ethanol", "?"], "structure": ["CCO", "C1CC"], "x": [1.5, np.nan], "id": [7, 8]},
        index=[3, 3],
    )
    table = predict(frame, model, properties="gap")
    assert list(table) == [*ROW_COLUMNS, "gap_eV", "structure", "x", "input_id"]
    assert table.status.tolist() == ["ok", "error"]
    assert table.name.tolist() == ["ethanol", "?"]
    assert table.input_id.tolist() == [7, 8]
    assert table.x.dtype == np.float64
    alone = predict("CCO", model, properties="gap")
    assert table.gap_eV[0] == pytest.approx(alone.gap_eV[0], rel=1e-5)
    assert "x" not in predict(frame, model, properties="gap", keep_columns=False)
    mixed = predict([frame, "O"], model, properties="gap")
    assert mixed.formula.tolist() == ["C2H6O", "", "H2O"]


def test_white_space_in_a_string_is_a_bad_row(model):
    bad_row(model, "CCO ethanol", "white space in the SMILES")


# Molecules that come again


def test_equal_molecules_in_any_window_have_equal_numbers(model, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WINDOW", 2)
    monkeypatch.setitem(module._WINDOW, "cpu", 3)
    spellings = ["CCO", "OCC", "C(C)O", "C[C@H](N)O", "C[C@@H](N)O", "O[C@H](C)N"]
    order = np.random.default_rng(0).permutation(18)
    inputs = [[*spellings, "CCC", "CCN", "CCF"][k % 9] for k in order]
    table = predict(inputs, model, conformers=2)
    groups = {**dict.fromkeys(spellings[:3], "a"), **dict.fromkeys(spellings[3:], "b")}
    numbers = table[PROPERTY_COLUMNS].assign(of=[groups.get(s, s) for s in inputs])
    assert (numbers.groupby("of").nunique() == 1).all(axis=None)


def test_a_molecule_is_predicted_once(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WINDOW", 2)
    monkeypatch.setitem(module._WINDOW, "cpu", 2)
    stand_in = StandIn()
    table = predict(["CCO", "OCC", "C", "C(O)C", "CCO"], stand_in, conformers=1)
    assert table.gap_eV.tolist() == [9, 9, 5, 9, 9]
    assert sum(map(len, stand_in.batches)) == 2


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    monkeypatch.setattr(module, "_FIRST_WINDOW", 1)
    monkeypatch.setitem(module._WINDOW, "cpu", 1)
    stand_in = StandIn()
    run = module.PropertyRun(PredictSettings(stand_in, conformers=1))
    rows = list(run.rows(["C", "CC", "CCC", "CCC", "C"]))
    assert [row["gap_eV"] for row in rows] == [5, 8, 11, 11, 5]
    assert len(run._known) == 2
    assert sum(map(len, stand_in.batches)) == 4


def test_a_molecule_that_the_default_model_does_not_know_is_another_models():
    """Which one can tell by its features; a rare kind of bond alone hands nothing over."""
    both = [g2("CH4"), g2("CO2"), g2("CH3CH2OH")]
    table = predict(both, properties="gap")
    assert table.model.tolist() == [DEFAULT_MODEL, DEFAULT_OUTSIDE, DEFAULT_MODEL]
    assert table.in_domain.tolist() == [False, False, True]
    of_other = predict(both, DEFAULT_OUTSIDE, properties="gap")
    other, row = of_other.iloc[1], table.iloc[1]
    for name in ("model_sha256", "in_domain", "domain_reason"):
        assert row[name] == other[name]
    for name in ("gap_eV", "gap_eV_std"):
        assert row[name] == pytest.approx(other[name], rel=1e-5)
    first = predict(both, DEFAULT_MODEL, properties="gap")
    assert set(first.model) == {DEFAULT_MODEL}
    assert first.gap_eV[0] == table.gap_eV[0]


def test_default_models_are_loaded_by_the_first_row_that_needs_them():
    run = module.PropertyRun(PredictSettings(properties="gap", fast=True))
    given, made, outside = both = run.models.all
    assert (given.name, made.name) == (DEFAULT_MODEL, DEFAULT_SMILES_MODEL)
    assert outside.name == DEFAULT_OUTSIDE
    assert not any("predictor" in vars(one) for one in both)
    assert [row["model"] for row in run.rows(["C1CCCCC1"])] == [DEFAULT_SMILES_MODEL]
    assert ["predictor" in vars(one) for one in both] == [False, True, False]
    assert [row["model"] for row in run.rows([g2("CH3CH2OH")])] == [DEFAULT_MODEL]
    assert ["predictor" in vars(one) for one in both] == [True, True, False]
    assert [row["model"] for row in run.rows(["O"])] == [DEFAULT_OUTSIDE]
    assert ["predictor" in vars(one) for one in both] == [True, True, True]
    for one in both:
        assert list(one.outputs) == list(one.predictor.outputs)


def test_the_way_of_a_smiles_to_a_number_is_short(model):
    """Modules of molgeo whose code runs for a row, once the model is there."""
    run = module.PropertyRun(PredictSettings(model))
    list(run.rows(["O"]))
    seen = set()

    def note(frame, event, _):
        if event == "call":
            seen.add(frame.f_globals.get("__name__", ""))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        (row,) = run.rows(["CCN"])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    own = {name for name in seen if name.split(".")[0] == "molgeo"}
    assert row["status"] == "ok"
    assert len(own) <= 41, sorted(own)


def test_the_charge_of_a_smiles_is_an_input():
    model = force_field("spectrum_net", charges=True)
    table = predict(["CO", "[OH3+]", "[OH-]", "[O-2]"], model, conformers=1)
    (message,) = failures(table)
    assert message.startswith(
        "charge -2 is outside the model's domain: it was trained on molecules"
    )
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.96]], info={"charge": -1})
    row = predict(atoms, model).iloc[0]
    z, pos = torch.tensor([8, 1]), torch.tensor([[0, 0, 0], [0, 0, 0.96]])
    with torch.no_grad():
        energy = model(z, pos, charge=torch.tensor([-1]))["energy"]
        neutral = model(z, pos)["energy"]
    assert row.energy_eV == pytest.approx(float(energy), abs=1e-4)
    assert abs(row.energy_eV - float(neutral)) > 1e-3
