import pytest

from molgeo.chem.files.columns import choose, content, named, structure_rank
from molgeo.chem.files.formats import ReadOptions
from molgeo.runtime.errors import InputError

DRUGS = ["CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C)C(=O)N2C", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"]
CODES = ["NO", "CO", "N", "C1CC", "F", "I", "P", "CN"]


def structure(titles, *columns, **reading):
    records = [titles, *map(list, zip(*columns, strict=True))]
    chosen = choose(records, ReadOptions(**reading), "a.csv")
    assert chosen.has_header
    return chosen.header[chosen.structure]


def test_codes_that_happen_to_be_smiles_do_not_win():
    codes, good = CODES[:6], DRUGS * 2
    for title in ("structure", "Chemical Structure", "mol", "MOLECULE", "x"):
        assert structure(["code", title], codes, good) == title
        assert structure([title, "code"], good, codes) == title
        assert structure(["flag", title], ["N"] * 6, good) == title


def test_a_structure_column_in_bad_shape_still_wins():
    bad = [*DRUGS, "C1CC", "?", "", "n.d.", "unknown"]
    assert structure(["code", "structure"], CODES, bad) == "structure"
    assert structure(["code", "SMILES"], CODES, ["?"] * 6 + DRUGS[:2]) == "SMILES"


def test_a_column_called_smiles_without_any_loses_to_one_with_structures():
    assert structure(["n_smiles", "x"], list("12345678"), (DRUGS * 3)[:8]) == "x"
    assert structure(["smiles", "x"], ["yes"] * 8, ["1"] * 8) == "smiles"


def test_names_in_a_column_called_mol():
    assert structure(["mol", "s"], ["aspirin", "caffeine", "ibuprofen"], DRUGS) == "s"


FLAT, STEREO = ["CC(N)C(=O)O"] * 2, ["C[C@H](N)C(=O)O"] * 2


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ("canonicalsmiles", "isomericsmiles"),
        ("Canonical SMILES", "Isomeric_SMILES"),
        ("smiles", "isomeric smiles"),
        ("ConnectivitySMILES", "SMILES"),
        ("canonical_smiles", "smiles"),
        ("scaffold_smiles", "structure"),
        ("Salt SMILES", "Compound SMILES"),
        ("InChI", "cxsmiles"),
        ("structure", "smi"),
        ("mol", "Structure"),
    ],
)
def test_the_better_title_wins(worse, better):
    assert structure([worse, better], FLAT, STEREO) == better
    assert structure([better, worse], STEREO, FLAT) == better


@pytest.mark.parametrize(
    ("titles", "name"),
    [
        (["Title", "smiles"], 0),
        (["ID", "smiles"], 0),
        (["smiles", "compound id"], 1),
        (["smiles", "IUPAC"], 1),
        (["smiles", "iupac_name"], 1),
        (["smiles", "Molecule ChEMBL ID"], 1),
        (["id", "compound_id", "smiles"], 1),
        (["id", "smiles", "Name"], 2),
        (["smiles", "acid", "lipid"], None),
    ],
)
def test_names(titles, name):
    records = [titles, ["x"] * len(titles)]
    records[1][titles.index("smiles")] = "CCO"
    assert choose(records, ReadOptions(), "a.csv").name == name


def test_an_empty_column_names_nothing():
    records = [["name", "id", "smiles"], ["", "7", "CCO"], ["", "8", "CCN"]]
    assert choose(records, ReadOptions(), "a.csv").name == 1


@pytest.mark.parametrize(
    ("records", "has_header"),
    [
        ([["1", "CCO"], ["2", "CCN"]], False),
        ([["C1CC", "bad"], ["CCO", "good"], ["CCN", "good"]], False),
        ([["CCO", "ethanol"]], False),
        ([["C", "N"], ["CCO", "1.5"], ["CCN", "2.5"]], True),
        ([["x", "y"], ["CCO", "a"], ["CCN", "b"]], True),
        ([["SMILES"]], True),
    ],
)
def test_headers(records, has_header):
    assert choose(records, ReadOptions(), "a.csv").has_header is has_header


def test_no_structures_at_all():
    with pytest.raises(InputError, match=r"a\.csv: no column is called 'smiles'.*--smiles-column"):
        choose([["x", "y"], ["1", "ethanol"]], ReadOptions(), "a.csv")


def test_content():
    assert content([*DRUGS, "", "?"]) == (0.75, 1.0)
    assert content(["NO", "N"])[1] < 0.5
    assert content([]) == (0.0, 0.0)


def test_titles():
    assert structure_rank("Isomeric SMILES") < structure_rank("smiles")
    assert structure_rank("smiles") < structure_rank("canonical_smiles") < structure_rank("InChI")
    assert structure_rank("InChIKey") is structure_rank("InChI=1S/CH4/h1H4") is None
    assert named(["pKa", "CAS No", "synonym", "Name"]) == [3, 1, 2]
