"""Text → RDKit molecules, whatever its characters.

RDKit takes what is not ASCII for the end of a SMILES, so that ``CCé`` would be ethane, and white
space for the begin of a name. It also cuts its messages at any byte: half a character cannot be
decoded, and its log raises. So RDKit is given ASCII only, and a SMILES is looked through first.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from rdkit import Chem

MAX_SMILES_LENGTH: Final = 5000
"""Characters. A molecule of 300 atoms has about a tenth of them."""

SPACE_IN_SMILES: Final = (
    "white space in the SMILES: give one SMILES only; a name goes behind it in a .smi file, in a "
    "column of its own, or on standard input: printf 'CCO ethanol\\n' | molgeo predict -"
)

_OTHER = re.compile(r"[^!-~]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def smiles_fault(smiles: str, max_length: int | None = None) -> str | None:
    """Why a text cannot be a SMILES, found before any parser sees it; None if it may be one.

    Args:
        smiles: text without white space around it.
        max_length: most characters; None for any number.

    Returns:
        A sentence that names what was found and what helps.
    """
    if max_length is not None and len(smiles) > max_length:
        return (
            f"the SMILES has {len(smiles):,} characters: at most {max_length:,} are read "
            "(--max-smiles-length)"
        )
    if any(map(str.isspace, smiles)):
        return SPACE_IN_SMILES
    odd = _OTHER.search(smiles)
    if odd is None:
        return None
    return (
        f"not a valid SMILES: {_described(odd[0])} at position {odd.start() + 1}, but a SMILES "
        "has ASCII characters only: type it instead of copying it"
    )


def mol_from_smiles(smiles: str) -> Chem.Mol | None:
    """A molecule, or None if RDKit cannot read all of the text as a SMILES, or it is too long."""
    return None if smiles_fault(smiles, MAX_SMILES_LENGTH) else Chem.MolFromSmiles(smiles)


def is_inchi(text: str) -> bool:
    """Whether a text says that it is an InChI."""
    return text.startswith("InChI=")


def smiles_from_inchi(inchi: str) -> str | None:
    """The SMILES of an InChI's molecule, or None if RDKit cannot read it."""
    mol = Chem.MolFromInchi(in_ascii(inchi))
    return None if mol is None or not mol.GetNumAtoms() else str(Chem.MolToSmiles(mol))


def mol_from_block(block: str) -> Chem.Mol | None:
    """A molecule with its explicit hydrogens, or None if RDKit cannot read the mol block."""
    return Chem.MolFromMolBlock(in_ascii(block), removeHs=False)


def in_ascii(text: str) -> str:
    """A text with ``?`` for each character that is not ASCII, and for NUL, at which RDKit stops."""
    return text.encode("ascii", "replace").decode("ascii").replace("\0", "?")


def without_surrogates(text: str) -> str:
    """A text that can be written: U+FFFD for bytes of a name that are no UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _described(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that it cannot decode
        return f"byte 0x{ord(character) - 0xDC00:02X}, which is no UTF-8,"
    name = unicodedata.name(character, "")
    shown = f"{character!r} " if character.isprintable() else ""
    return f"character {shown}(U+{ord(character):04X}{', ' + name if name else ''})"
