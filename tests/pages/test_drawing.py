import xml.etree.ElementTree as ET

import pytest
from rdkit import Chem

from molgeo.pages.drawing import drawing

BLOCK = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))


@pytest.mark.parametrize("given", [("c1ccccc1O", ""), ("", BLOCK), ("CC(=O)O", BLOCK)])
def test_a_molecule_is_drawn(given):
    svg = drawing(*given)
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "currentColor" in svg
    assert "#000000" not in svg  # which nobody could see on a dark page
    assert "#FFFFFF" not in svg


@pytest.mark.parametrize(
    "given", [("", ""), ("not a SMILES", ""), ("C1CC", BLOCK), ("", "nonsense")]
)
def test_what_cannot_be_drawn_has_no_drawing(given):
    assert drawing(*given) == ""
