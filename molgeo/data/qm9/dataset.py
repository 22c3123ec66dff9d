"""QM9: 130,831 small organic molecules at B3LYP/6-31G(2df,p), twelve properties each.

Source:
    Ramakrishnan, Dral, Rupp, von Lilienfeld, Sci. Data 1, 140022 (2014). 3,054 of its 133,885
    molecules failed the authors' consistency check between SMILES and relaxed geometry and are
    left out, as everybody does.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch

from molgeo.data.geometries import (
    MAX_CONFORMERS,
    Geometry,
    GeometrySet,
    own_geometries,
    read_geometries,
    with_labels,
)
from molgeo.data.location import data_dir
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.compact import expanded, packed
from molgeo.data.split import Split
from molgeo.data.tensor_file import read_tensors, write_tensors
from molgeo.runtime.errors import InputError
from molgeo.units import HARTREE

N_MOLECULES: Final = 130_831
N_TRAIN: Final = 110_000
N_VALIDATION: Final = 10_000
SPLIT_SEED: Final = 42
LEVEL_OF_THEORY: Final = "B3LYP/6-31G(2df,p)"
FORMAT_VERSION: Final = 1

ATOM_REFERENCES: Final[dict[str, dict[int, float]]] = {
    # Free atoms at the same level, Hartree (Cv: cal/mol/K), from QM9's own atomref.txt.
    "u0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "u298": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "h298": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "g298": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
}


def split(n: int = N_MOLECULES, seed: int = SPLIT_SEED) -> Split:
    """The deterministic 110,000 / 10,000 / 10,831 split.

    Args:
        n: molecules in all.
        seed: of ``numpy.random.RandomState``, whose stream is frozen across versions.

    Returns:
        Rows of QM9 (in the order of its own index) of the three parts.
    """
    order = torch.from_numpy(np.random.RandomState(seed).permutation(n))
    n_train, n_validation = round(n * N_TRAIN / N_MOLECULES), round(n * N_VALIDATION / N_MOLECULES)
    return Split(*order.split([n_train, n_validation, n - n_train - n_validation]))


def atom_references() -> dict[str, dict[int, float]]:
    """Energies of free atoms in eV: property → atomic number → value."""
    return {
        name: {z: value * HARTREE for z, value in table.items()}
        for name, table in ATOM_REFERENCES.items()
    }


class QM9:
    """The prepared data set.

    Args:
        root: folder that holds ``qm9.safetensors``, or else ``qm9_compact.safetensors``; None for
            the default data folder.

    Attributes:
        molecules: all molecules as flat tensors.
        root: the folder.
        version: of the file.
        level_of_theory: of the labels.

    Raises:
        FileNotFoundError: QM9 has not been prepared there.
        ValueError: the file is of another version.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        path = prepared_path(root)
        self.root = path.parent
        compact = compact_path(root)
        if not path.exists() and not compact.exists():
            raise FileNotFoundError(
                f"QM9 is not prepared: {path} does not exist; run `molgeo data prepare qm9`"
            )
        is_compact = not path.exists()
        tensors, header = read_tensors(compact if is_compact else path)
        if header["version"] != FORMAT_VERSION:
            cure = (
                "make it anew with `molgeo data compact qm9` on a machine on which QM9 is prepared"
                if is_compact
                else "run `molgeo data prepare qm9 --force`"
            )
            raise InputError(
                f"{compact if is_compact else path}: expected version {FORMAT_VERSION}, "
                f"got {header['version']}; {cure}"
            )
        if is_compact:
            tensors = expanded(tensors, header)
        self.version: int = header["version"]
        self.level_of_theory: str = header["level_of_theory"]
        self._smiles = tensors.pop("smiles").numpy().tobytes()
        self._smiles_ptr = tensors.pop("smiles_ptr")
        fields = {**tensors, "properties": tuple(header["properties"])}
        self.molecules = MoleculeSet(**fields)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Number of molecules."""
        return len(self.molecules)

    def __getitem__(self, row: int):  # type: ignore[no-untyped-def]
        """One molecule as PyG ``Data``, with its SMILES."""
        from torch_geometric.data import Data

        one = self.molecules.batch(torch.tensor([range(len(self))[row]]))._asdict()
        fields = {name: value for name, value in one.items() if value is not None}
        return Data(**fields, smiles=self.smiles(row))

    def smiles(self, row: int) -> str:
        """SMILES of one molecule."""
        row = range(len(self))[row]
        return self._smiles[self._smiles_ptr[row] : self._smiles_ptr[row + 1]].decode()

    def all_smiles(self) -> list[str]:
        """SMILES of all molecules."""
        ends = self._smiles_ptr.tolist()
        return [self._smiles[a:b].decode() for a, b in pairwise(ends)]

    def geometry(self, kind: Geometry, engine: str = "") -> GeometrySet:
        """The molecules at another geometry, with the same labels.

        Args:
            kind: ``dft``, the data set's own; ``mmff``, its conformer minimised with MMFF94, atoms
                in the same order; ``smiles``, conformers made from the SMILES with the stereo of
                the data set's conformer; ``flat``, from the SMILES without stereo, so often of
                another diastereomer. The order of atoms of the latter two is the SMILES's.
                ``relaxed``, ``relaxed_smiles`` and ``relaxed_flat`` are these after the geometry
                engine.
            engine: SHA-256 of the weights of the engine that is to have made them; "" for any.

        Raises:
            FileNotFoundError: these geometries have not been prepared.
            ValueError: their file is damaged, or belongs to other data.
        """
        if kind == "dft":
            return own_geometries(self.molecules)
        path = geometry_path(self.root, kind)
        if not path.exists():
            raise FileNotFoundError(
                f"geometry {kind!r} is not prepared: {path} does not exist; run "
                "`molgeo data prepare qm9 --conformers`"
            )
        geometries, header = read_geometries(path)
        if header["source"] != self.digest():
            raise InputError(
                f"{path} was made from another qm9.safetensors than the one beside it; run "
                "`molgeo data prepare qm9 --conformers`"
            )
        if engine and header.get("engine") != engine:
            raise InputError(
                f"{path} was made by another geometry engine; run `molgeo data prepare qm9 "
                f"--conformers --geometries {kind}`"
            )
        # What is minimised from the one conformer that there is will do for any number.
        conformers = MAX_CONFORMERS if kind in ("mmff", "relaxed") else header["conformers"]
        labels = self.molecules.y, self.molecules.idx, self.molecules.properties
        return with_labels(geometries, *labels, conformers)

    def digest(self) -> str:
        """SHA-256 of all SMILES and atomic numbers: the same data, the same cheap geometries."""
        content = hashlib.sha256("\n".join(self.all_smiles()).encode())
        content.update(self.molecules.z.numpy().tobytes())
        return content.hexdigest()

    def write_compact(self, path: Path) -> None:
        """Write the compact form, all or nothing; what was compact before stays the same.

        Raises:
            ValueError: a label has more digits than QM9's.
            OSError: the folder cannot be written to, or the disk is full.
        """
        tensors, header = packed(self.molecules, self.all_smiles())
        about = {"version": self.version, "level_of_theory": self.level_of_theory}
        write_tensors(tensors, {**about, **header}, path)

    def split(self) -> Split:
        """The standard split of these molecules."""
        return split(len(self))


def prepared_path(root: str | Path | None = None) -> Path:
    """Where the prepared QM9 lies."""
    return (Path(root) if root else data_dir() / "qm9") / "qm9.safetensors"


def compact_path(root: str | Path | None = None) -> Path:
    """Where QM9's compact form lies, which is taken if there is no prepared one."""
    return prepared_path(root).with_name("qm9_compact.safetensors")


def geometry_path(root: str | Path | None, kind: Geometry) -> Path:
    """Where the geometries of a kind lie."""
    path = prepared_path(root)
    return path if kind == "dft" else path.with_name(f"qm9_{kind}.safetensors")
