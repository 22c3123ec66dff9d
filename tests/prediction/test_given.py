"""Given coordinates are judged, and the default models share the work by it."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

from molgeo.chem.bonds import conformer, placed
from molgeo.prediction import predict
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_OUTSIDE,
    DEFAULT_SMILES_MODEL,
    geometry_engine,
)
from molgeo.units import COORDINATE_UNITS

RECORD = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "geometry_sources.json").read_text("utf-8")
)
CHEAP, LIKE_MMFF = DEFAULT_SMILES_MODEL, "given (like mmff94)"
SAID = {
    "dft": ("given", DEFAULT_MODEL),
    "mmff94": (LIKE_MMFF, CHEAP),
    "gfn2": ("given (like gfn2)", DEFAULT_MODEL),
    "distorted": ("given (distorted)", CHEAP),
}


def structures(source, n=3):
    positions = [np.array(pos) for pos in RECORD["dft" if source == "distorted" else source]]
    if source == "distorted":
        rng = np.random.default_rng(0)
        positions = [pos + 0.05 * rng.standard_normal(pos.shape) for pos in positions]
    return [Atoms(z, pos) for z, pos in zip(RECORD["z"][:n], positions[:n], strict=True)]


@pytest.mark.parametrize("source", SAID)
def test_the_model_that_fits_is_taken_and_said(source):
    geometry, model = SAID[source]
    table = predict(structures(source), properties="gap")
    assert set(table.geometry) == {geometry}
    assert set(table.model) == {model}
    own = predict(structures(source), model, properties="gap")
    assert table.gap_eV.tolist() == own.gap_eV.tolist()
    assert set(own.geometry) == {geometry}, "a model that is named is told as well"
    reasons = table.domain_reason.str.contains("distorted coordinates")
    assert set(reasons) == {source == "distorted"}


def test_one_window_holds_rows_of_all_sources():
    mixed = [structures(source, 1)[0] for source in SAID]
    table = predict([mixed[0], "CCO", *mixed[1:], "C("], properties="gap")
    pairs = list(zip(table.geometry, table.model, strict=True))
    given = list(SAID.values())
    (made, model), *others = [pairs[1], pairs[0], *pairs[2:-1]]
    assert others == given
    assert made == f"etkdg+mmff+{geometry_engine()}"
    assert model in (DEFAULT_MODEL, DEFAULT_OUTSIDE)
    assert table.status.tolist() == ["ok"] * 5 + ["error"]


def test_coordinates_are_taken_as_they_are_if_asked_for():
    table = predict(structures("mmff94"), geometry="given", properties="gap")
    assert set(table.geometry) == {LIKE_MMFF}
    assert set(table.model) == {DEFAULT_MODEL}
    minimised = predict(structures("mmff94", 1), geometry="mmff", properties="gap")
    assert minimised.geometry[0] == f"given+mmff+{geometry_engine()}"
    assert minimised.model[0] == DEFAULT_MODEL
    fast = predict(structures("mmff94", 1), geometry="mmff", properties="gap", fast=True)
    assert (fast.geometry[0], fast.model[0]) == ("given+mmff", CHEAP)


def test_models_of_other_geometries_are_told_nothing(model):
    table = predict(structures("mmff94"), model, properties="gap")
    assert set(table.geometry) == {"given"}


def test_conformers_of_one_row_come_from_where_most_do():
    mol = Chem.MolFromXYZBlock(xyz(structures("mmff94", 1)[0]))
    rdDetermineBonds.DetermineConnectivity(mol)
    for source in ("dft", "mmff94"):
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetPositions(np.array(RECORD[source][0]))
        mol.AddConformer(conformer, assignId=True)
    assert predict(mol, CHEAP, properties="gap").geometry.tolist() == [LIKE_MMFF]
    each = predict(mol, CHEAP, properties="gap", each_conformer=True).geometry.tolist()
    assert each == [LIKE_MMFF, "given", LIKE_MMFF]


def xyz(atoms):
    pairs = zip(atoms.symbols, atoms.positions.tolist(), strict=True)
    rows = (" ".join(map(str, [symbol, *place])) for symbol, place in pairs)
    return "\n".join([str(len(atoms)), "", *rows, ""])


def written(k, unit, kind, path):
    """Structure number k in some unit, as a file or as itself."""
    (z, pos), smiles = (RECORD["z"][k], np.array(RECORD["dft"][k])), RECORD["smiles"][k]
    atoms = Atoms(z, pos / COORDINATE_UNITS[unit])
    if kind == "atoms":
        return atoms
    if kind == "sdf":
        mol, order = placed(smiles, np.array(z), pos)
        mol.AddConformer(conformer(atoms.positions[order]))
        path.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
    elif kind == "sdf without bonds":
        path.write_text(Chem.MolToMolBlock(Chem.MolFromXYZBlock(xyz(atoms))) + "$$$$\n")
    else:
        ase.io.write(path, atoms, format=kind)
    return str(path)


@pytest.mark.parametrize("kind", ["xyz", "extxyz", "sdf", "sdf without bonds", "atoms"])
@pytest.mark.parametrize("unit", ["bohr", "nm", "pm"])
def test_a_wrong_unit_is_an_error_that_names_it(kind, unit, tmp_path):
    path = tmp_path / f"a.{kind.split()[0]}"
    for k in range(3):
        table = predict(written(k, unit, kind, path), properties="gap")
        assert table.status.tolist() == ["error"]
        assert f"they look like {unit}: multiply them by" in table.message[0]


def test_a_unit_that_was_applied_twice_is_named():
    (atoms,) = structures("dft", 1)
    other = Atoms(atoms.numbers, atoms.positions * COORDINATE_UNITS["bohr"])
    table = predict(other, properties="gap")
    assert "Å that were taken for bohr: multiply them by 1.89" in table.message[0]
