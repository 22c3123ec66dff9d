"""From what a user gives to molecules with coordinates: SMILES, files and Python objects."""

from molgeo.chem.molecule import BadRow, Molecule, SmilesRow
from molgeo.runtime.errors import InputError

__all__ = ["BadRow", "InputError", "Molecule", "SmilesRow"]
