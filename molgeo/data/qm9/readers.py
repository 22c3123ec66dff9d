"""Readers of every form in which QM9 is passed around; each yields the same `RawQM9`."""

from __future__ import annotations

import csv
import importlib.util
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np

from molgeo.data.qm9 import dataset as qm9
from molgeo.data.qm9.labels import HARTREE_PROPERTIES, in_units
from molgeo.data.qm9.properties import NAMES
from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Progress

"""Called with (done, total)."""

QM9PACK_COLUMNS: Final = {
    "mu": "Dipole_debye",
    "alpha": "Polarizability_bohr3",
    "homo": "HOMO_au",
    "lumo": "LUMO_au",
    "gap": "HOMO_LUMO_gap_au",
    "r2": "R2_bohr2",
    "zpve": "ZPVE_au",
    "u0": "InternalEnergy_0K_au",
    "u298": "InternalEnergy_298K_au",
    "h298": "Enthalphy_298K_au",
    "g298": "GibbsFreeEnergy_298K_au",
    "cv": "Heatcapacity_Cv_cal_mol_K",
}
"""Columns of qm9pack's tables."""

N_ALL: Final = 133_885
"""Molecules in QM9 before the uncharacterized ones are left out."""

NUMBER: Final = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}

PYG_HARTREE: Final = 27.211386246
PYG_KCAL_MOL: Final = 0.04336414
"""PyG's eV per Hartree and per kcal/mol (``torch_geometric.datasets.qm9``)."""

GDB9_KCAL_MOL: Final = 627.509
"""kcal/mol per Hartree in ``gdb9.sdf.csv``: methane's -0.631066 Ha are given as -395.999594594."""


class RawQM9(NamedTuple):
    """QM9 as read, molecules in any order.

    Attributes:
        idx: (molecules,) QM9's own number, 1 to 133,885.
        n_atoms: (molecules,).
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
        y: (molecules, 12) in QM9's own units (Hartree, Debye, a0, cal/mol/K).
        smiles: SMILES of each molecule; the notation is the source's.
    """

    idx: np.ndarray
    n_atoms: np.ndarray
    z: np.ndarray
    pos: np.ndarray
    y: np.ndarray
    smiles: list[str]


class _Molecule(NamedTuple):
    """One molecule of a `RawQM9`."""

    idx: int
    z: list[int]
    pos: list[Any]
    y: list[float]
    smiles: str


def read(path: Path, progress: Progress | None = None) -> RawQM9:
    """Read QM9 from a file, whatever its form.

    Args:
        path: ``dsgdb9nsd.xyz.tar.bz2``, ``gdb9.tar.gz``, ``gdb9.sdf`` with ``gdb9.sdf.csv`` beside
            it, PyG's ``qm9_v3.zip``, ``qm9_v3.pt`` or ``data_v3.pt``, or ``qm9.safetensors``.
        progress: told how far it is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of none of these forms, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"source: {path} is not a file")
    report = progress or (lambda done, total: None)
    try:
        if ".tar" in path.suffixes or path.suffix in (".bz2", ".tgz"):
            return _from_archive(path, report)
        if path.suffix == ".sdf":
            with path.open("rb") as sdf, Path(f"{path}.csv").open(newline="") as table:
                return from_gdb9(sdf, table, report)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith(".pt"))
                return from_pyg(io.BytesIO(archive.read(name)))
        if path.suffix == ".pt":
            with path.open("rb") as file:
                return from_pyg(file)
        if path.suffix == ".safetensors":
            return from_prepared(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # the libraries' errors on damaged files share no base class
        reason = str(error).split("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: not a readable form of QM9, perhaps truncated ({reason})"
        ) from error
    raise InputError(
        f"{path}: expected .xyz.tar.bz2, gdb9.tar.gz, .sdf, .zip, .pt or .safetensors, "
        f"got {path.suffix!r}"
    )


def from_qm9pack() -> RawQM9:
    """Read the tables of the installed package ``qm9pack``.

    Its own module needs ``pkg_resources``, which setuptools no longer has, so the tables are
    opened directly.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("qm9pack is not installed; `pip install qm9pack` brings QM9 along")
    return from_tables(sorted((Path(spec.origin).parent / "data").glob("qm9_part*.csv")))


def from_tables(paths: Iterable[Path]) -> RawQM9:
    """Read tables in qm9pack's form."""
    import pandas as pd

    wanted = ["Index", "SMILES", "N_atoms", "Elements", "XYZ_Ang", *QM9PACK_COLUMNS.values()]
    table = pd.concat([pd.read_csv(f, usecols=wanted) for f in paths], ignore_index=True)
    symbols = ",".join(table["Elements"].str.replace(r"[\[\]' ]", "", regex=True)).split(",")
    numbers = ",".join(table["XYZ_Ang"].str.replace(r"[\[\]]", "", regex=True)).split(",")
    columns = [QM9PACK_COLUMNS[name] for name in NAMES]
    return RawQM9(
        idx=table["Index"].to_numpy(np.int64),
        n_atoms=table["N_atoms"].to_numpy(np.int64),
        z=np.array([NUMBER[s] for s in symbols], np.uint8),
        pos=np.array(numbers, np.float64).reshape(-1, 3),
        y=table[columns].to_numpy(np.float64),
        smiles=table["SMILES"].astype(str).tolist(),
    )


def _from_archive(path: Path, report: Progress) -> RawQM9:
    """An archive of xyz files (figshare's), or of gdb9.sdf and gdb9.sdf.csv (DeepChem's)."""
    with tarfile.open(path) as archive:
        first = archive.next()
        if first is not None and first.name.endswith(".xyz"):
            return _from_xyz_files(archive, report)
        members = {Path(member.name).name: member for member in archive}
        sdf, table = (archive.extractfile(members[n]) for n in ("gdb9.sdf", "gdb9.sdf.csv"))
        assert sdf is not None
        assert table is not None
        with sdf, table:
            return from_gdb9(sdf, io.TextIOWrapper(table, newline=""), report)


def _from_xyz_files(archive: tarfile.TarFile, report: Progress) -> RawQM9:
    molecules = []
    for member in archive:
        file = archive.extractfile(member)
        if file is None or not member.name.endswith(".xyz"):
            continue
        molecules.append(_parse_xyz(file.read().decode()))
        report(len(molecules), N_ALL)
    return _join(molecules)


def _parse_xyz(text: str) -> _Molecule:
    """One ``dsgdb9nsd_XXXXXX.xyz``: count, labels, atoms with charges, frequencies, SMILES, InChI.

    Small numbers are written as Mathematica does: ``7.3*^-6``.
    """
    lines = text.splitlines()
    n = int(lines[0])
    labels = lines[1].split()  # gdb, number, rotational constants A B C, the twelve
    atoms = [line.replace("*^", "e").split() for line in lines[2 : 2 + n]]
    return _Molecule(
        idx=int(labels[1]),
        z=[NUMBER[atom[0]] for atom in atoms],
        pos=[[float(x) for x in atom[1:4]] for atom in atoms],
        y=[float(value.replace("*^", "e")) for value in labels[5:17]],
        smiles=lines[n + 3].split()[0],
    )


def from_gdb9(sdf: IO[bytes], table: IO[str], progress: Progress | None = None) -> RawQM9:
    """Read DeepChem's ``gdb9.sdf`` (coordinates to 1e-4 Å) and ``gdb9.sdf.csv``.

    Args:
        sdf: molecules named ``gdb_N``.
        table: their labels, with a column ``mol_id``.
        progress: told how far it is.

    Raises:
        ValueError: a molecule is damaged.
    """
    from rdkit import Chem, rdBase

    labels = {row["mol_id"]: [float(row[name]) for name in NAMES] for row in csv.DictReader(table)}
    molecules = []
    with rdBase.BlockLogs():
        for mol in Chem.ForwardSDMolSupplier(sdf, sanitize=False, removeHs=False):
            if mol is None:
                raise InputError(f"molecule {len(molecules) + 1} of the sdf cannot be read")
            name = mol.GetProp("_Name")
            molecules.append(
                _Molecule(
                    idx=int(name.removeprefix("gdb_")),
                    z=[atom.GetAtomicNum() for atom in mol.GetAtoms()],
                    pos=mol.GetConformer().GetPositions(),
                    y=labels[name],
                    smiles=_smiles(mol),
                )
            )
            if progress:
                progress(len(molecules), N_ALL)
    return _join(molecules)


def _smiles(mol: Any) -> str:
    """SMILES without hydrogens if RDKit accepts the bonds, else as they are."""
    from rdkit import Chem

    try:
        return str(Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False))
    except Chem.MolSanitizeException:
        return str(Chem.MolToSmiles(mol, isomericSmiles=False))


def from_pyg(file: IO[bytes]) -> RawQM9:
    """Read PyG's ``qm9_v3.pt`` (a list of dicts) or ``data_v3.pt`` (one collated ``Data``).

    PyG holds labels as float32 in eV, too coarse for total energies, so these are restored from the
    atomization energies beside them; after rounding to the published digits all labels but r2 (off
    by up to 1e-4 a0² above 1000 a0²) are exact.

    Raises:
        ValueError: the labels are not PyG's nineteen.
    """
    import torch
    import torch_geometric.data  # noqa: F401  (tells torch which of its classes are safe to load)

    content = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(content, list):
        z, pos, y = (torch.cat([d[key] for d in content]) for key in ("z", "pos", "y"))
        n_atoms = torch.tensor([len(d["z"]) for d in content])
        names = [d.get("name", f"gdb_{int(d.get('idx', -2)) + 1}") for d in content]
        smiles = [d.get("smiles", "") for d in content]
    else:
        data, slices = content[0], content[1]
        data = data if isinstance(data, dict) else data.to_dict()
        z, pos, y, names = data["z"], data["pos"], data["y"], data["name"]
        n_atoms = slices["z"].diff()
        smiles = data.get("smiles", [""] * len(names))
    if y.shape != (len(names), 19):
        raise InputError(f"labels: expected (molecules, 19), got {tuple(y.shape)}")
    numbers = z.numpy().astype(np.uint8)
    return RawQM9(
        idx=np.array([int(name.removeprefix("gdb_")) for name in names], np.int64),
        n_atoms=n_atoms.numpy(),
        z=numbers,
        pos=pos.double().numpy(),
        y=_pyg_labels(y.double().numpy(), numbers, n_atoms.numpy()),
        smiles=list(smiles),
    )


def _pyg_labels(y: np.ndarray, z: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    """(molecules, 19) of PyG → (molecules, 12) in QM9's units."""
    factors = [PYG_HARTREE if p in HARTREE_PROPERTIES else 1.0 for p in NAMES]
    labels = y[:, :12] / np.array(factors)
    molecule = np.repeat(np.arange(len(y)), n_atoms)
    for k, (name, table) in enumerate(qm9.ATOM_REFERENCES.items()):
        free_atom = np.zeros(max(table) + 1)
        free_atom[list(table)] = list(table.values())
        free = np.bincount(molecule, free_atom[z], minlength=len(y))
        atomization = y[:, 12 + k] / (PYG_KCAL_MOL * GDB9_KCAL_MOL)
        labels[:, NAMES.index(name)] = atomization + free
    return labels


def from_prepared(path: Path) -> RawQM9:
    """Read a prepared ``qm9.safetensors``, of this or of another folder.

    Raises:
        ValueError: the file has another name.
    """
    if path.name != qm9.prepared_path().name:
        raise InputError(f"expected {qm9.prepared_path().name}, got {path.name}")
    data = qm9.QM9(path.parent)
    molecules = data.molecules
    return RawQM9(
        idx=molecules.idx.numpy(),
        n_atoms=molecules.ptr.diff().numpy(),
        z=molecules.z.numpy(),
        pos=molecules.pos.double().numpy(),
        y=molecules.y.numpy() / in_units(np.ones((1, 12)), NAMES),
        smiles=data.all_smiles(),
    )


def _join(molecules: list[_Molecule]) -> RawQM9:
    return RawQM9(
        idx=np.array([m.idx for m in molecules], np.int64),
        n_atoms=np.array([len(m.z) for m in molecules], np.int64),
        z=np.array([number for m in molecules for number in m.z], np.uint8),
        pos=np.concatenate([np.asarray(m.pos, np.float64).reshape(-1, 3) for m in molecules]),
        y=np.array([m.y for m in molecules], np.float64),
        smiles=[m.smiles for m in molecules],
    )
