"""Python objects as rows: `ase.Atoms`, RDKit molecules, PyG ``Data`` and pairs ``(z, pos)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rdkit import Chem

from molgeo.chem.electrons import SPIN_KEYS, spin_reason, whole_charge
from molgeo.chem.files.ase_files import from_ase
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.sdf import from_rdkit
from molgeo.chem.molecule import BadRow, Molecule, Row, from_arrays, is_pair


def from_object(source: Any, options: ReadOptions, input: str = "") -> Iterator[Row]:
    """Rows of an object.

    Args:
        source: is left as it is; an unknown kind is a bad row.
        options: say what comes along.
        input: where it comes from; "" for the name of its kind.
    """
    kind = input or type(source).__name__
    if isinstance(source, Chem.Mol):
        row = from_rdkit(source, kind)
        yield replace(row, extra=source.GetPropsAsDict()) if options.keep_columns else row
    elif is_pair(source):
        yield from_arrays(*source, input=input or "(z, pos)")
    elif hasattr(source, "to_data_list"):  # a PyG Batch
        for data in source.to_data_list():
            yield from from_object(data, options, input)
    elif hasattr(source, "numbers") and hasattr(source, "positions"):
        yield from_ase(source, kind, options)
    elif hasattr(source, "z") and hasattr(source, "pos"):
        yield _from_data(source, kind)
    else:
        table = ", a table as a pandas.DataFrame" if isinstance(source, Mapping) else ""
        message = (
            f"cannot read a {type(source).__name__}: expected a SMILES, the name of a file, "
            f"ase.Atoms, PyG Data with z and pos, an RDKit Mol or a pair (z, pos){table}"
        )
        yield BadRow(input or repr(source)[:80], message=message)


def _from_data(data: Any, input: str) -> Molecule | BadRow:
    """PyG's ``Data``; ``smiles``, ``name``, charge and spin come along if they are there."""
    if data.z is None or data.pos is None:
        missing = "z" if data.z is None else "pos"
        return BadRow(
            input, message=f"{input} has no {missing}: expected z (atoms,) and pos (atoms, 3)"
        )
    smiles, name = (getattr(data, key, None) for key in ("smiles", "name"))
    smiles, name = smiles if isinstance(smiles, str) else None, "" if name is None else str(name)
    said = {key: getattr(data, key, None) for key in ("charge", *SPIN_KEYS)}
    try:
        charge = 0 if said["charge"] is None else whole_charge(said.pop("charge"))
    except ValueError as error:
        return BadRow(input, name, smiles, str(error))
    molecule = from_arrays(data.z, data.pos, charge=charge, smiles=smiles, name=name, input=input)
    spins = {key: value for key, value in said.items() if key in SPIN_KEYS and value is not None}
    reasons = [reason for key, value in spins.items() if (reason := spin_reason(key, value))]
    if not reasons or isinstance(molecule, BadRow):
        return molecule
    return replace(molecule, open_shell=reasons[0])
