"""What a package of somebody else brings: two file formats that molgeo does not know, and a PDB."""

import numpy as np
from ase import Atoms
from ase.units import Bohr

from molgeo.chem import BadRow
from molgeo.chem.files.formats import Format
from molgeo.chem.molecule import from_arrays


def read_coord(lines, origin, options):
    """Turbomole's ``coord``: x, y, z in bohr and the element, after ``$coord``."""
    atoms = []
    for line in lines:
        if line.startswith("$"):
            if atoms:
                yield Atoms([a[3].capitalize() for a in atoms], positions=positions(atoms))
            atoms = []
        elif line.strip():
            atoms.append(line.split())


def positions(atoms):
    return Bohr * np.array([atom[:3] for atom in atoms], dtype=float)


def read_npz(path, origin, options):
    """Arrays in NumPy's own form, with a value that comes along."""
    with np.load(path) as arrays:
        if "z" not in arrays:
            yield BadRow(origin, message="there is no array z")
            return
        molecule = from_arrays(arrays["z"], arrays["pos"], input=origin)
        molecule.extra["solubility"] = float(arrays["solubility"])
        yield molecule


def read_pdb(lines, origin, options):
    """A reader that takes the place of molgeo's own."""
    yield BadRow(origin, message=f"my own reader of {sum(1 for _ in lines)} lines")


def count_coord(file):
    """How many molecules there are, for the time that is left."""
    return sum(line.startswith(b"$coord") for line in file)


COORD = Format((".coord", ".tmol"), read_coord, count=count_coord)
NPZ = Format((".npz",), "outside.turbomole_format:read_npz", is_text=False)
PDB = Format((".pdb", ".ent"), read_pdb)
UNCOUNTED = Format((".sdf",), read_pdb)
BROKEN = ".coord"
