"""Drawings of molecules as SVG, by RDKit; they take the colours of their page."""

from __future__ import annotations

import re
from typing import Any, Final

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molgeo.chem.parsing import mol_from_smiles, rdkit_messages

SIZE: Final = (220, 150)
"""Width and height, in pixels of the page."""

# Readable on white and on black; carbon and hydrogen are as the text of the page.
_COLOURS: Final = {
    7: (0.27, 0.47, 0.95),
    8: (0.90, 0.25, 0.20),
    9: (0.10, 0.60, 0.30),
    16: (0.70, 0.55, 0.0),
}


def drawing(smiles: str, block: str = "") -> str:
    """A molecule as an ``<svg>`` element; "" if it cannot be drawn.

    Args:
        smiles: of the molecule; "" if it is not known.
        block: a mol block, whose bonds are drawn if there is no SMILES.
    """
    with rdkit_messages():
        try:
            mol = mol_from_smiles(smiles) if smiles else Chem.MolFromMolBlock(block)
            if mol is None or not mol.GetNumAtoms():
                return ""
            mol.RemoveAllConformers()  # drawn flat, not as the coordinates lie
            canvas = rdMolDraw2D.MolDraw2DSVG(*SIZE)
            options: Any = canvas.drawOptions()
            options.clearBackground = False
            options.updateAtomPalette(_COLOURS)
            options.padding = 0.04
            options.maxFontSize = 14
            options.fixedBondLength = 26
            rdMolDraw2D.PrepareAndDrawMolecule(canvas, mol)
            canvas.FinishDrawing()
        except (ValueError, RuntimeError):
            return ""
    text = canvas.GetDrawingText()
    text = re.sub(r"\s*<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.replace("#000000", "currentColor").replace("<svg", '<svg role="img"', 1)
