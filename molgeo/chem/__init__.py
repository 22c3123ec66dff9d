"""From what a user gives to molecules with coordinates: SMILES, files and Python objects."""

from molgeo.chem.molecule import BadRow, InputError, Molecule, SmilesRow

__all__ = ["BadRow", "InputError", "Molecule", "SmilesRow"]
