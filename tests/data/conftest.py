"""Writers of the forms in which QM9 is passed around, for the tests of their readers."""

import io
import sys
import tarfile

import pytest
import torch

from molgeo.data.qm9.dataset import ATOM_REFERENCES
from molgeo.data.qm9.properties import NAMES

SYMBOL = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
ENERGIES = tuple(ATOM_REFERENCES)


@pytest.fixture(scope="session")
def formats():
    """The writers below."""
    return sys.modules[__name__]


def molecules(raw):
    """Each molecule as (idx, z, pos, y, smiles), after a made-up uncharacterized one."""
    ends = raw.n_atoms.cumsum()
    parts = [
        (int(idx), raw.z[end - n : end], raw.pos[end - n : end], y, smiles)
        for idx, n, end, y, smiles in zip(
            raw.idx, raw.n_atoms, ends, raw.y, raw.smiles, strict=True
        )
    ]
    return [(58, *parts[0][1:]), *parts]


def number(x, digits=10):
    """As Mathematica prints it: no trailing zeros, and ``7.3*^-6`` for small numbers."""
    if x != 0 and abs(x) < 1e-5:
        mantissa, exponent = f"{x:.6e}".split("e")
        return f"{mantissa.rstrip('0')}*^{int(exponent)}"
    return f"{x:.{digits}f}".rstrip("0")


def xyz(idx, z, pos, y, smiles):
    """``dsgdb9nsd_XXXXXX.xyz``."""
    labels = "\t".join(number(v, 6) for v in y)
    atoms = [
        "\t".join([SYMBOL[int(n)], *(number(v) for v in r), "-0.1"])
        for n, r in zip(z, pos, strict=True)
    ]
    lines = [
        str(len(z)),
        f"gdb {idx}\t157.7118\t157.70997\t157.70699\t{labels}\t",
        *atoms,
        "1341.307\t1341.3284",
        f"{smiles}\t{smiles}\t",
        "InChI=1S/X\tInChI=1S/X",
    ]
    return "\n".join(lines) + "\n"


def write_xyz_archive(raw, path):
    """Figshare's ``dsgdb9nsd.xyz.tar.bz2``."""
    with tarfile.open(path, "w:bz2") as archive:
        for molecule in molecules(raw):
            _add(archive, f"dsgdb9nsd_{molecule[0]:06d}.xyz", xyz(*molecule))
    return path


def atomization(z, y):
    """U0, U, H and G relative to free atoms in kcal/mol, as in ``gdb9.sdf.csv``."""
    return [
        (y[NAMES.index(name)] - sum(ATOM_REFERENCES[name][int(n)] for n in z)) * 627.509
        for name in ENERGIES
    ]


def sdf_and_table(raw):
    """``gdb9.sdf`` (coordinates to 1e-4 Å) and ``gdb9.sdf.csv``."""
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    blocks = []
    names = ",".join(["mol_id,A,B,C", *NAMES, *(f"{n}_atom" for n in ENERGIES)])
    rows = [names]
    for idx, z, pos, y, _ in molecules(raw):
        text = "\n".join(
            [
                str(len(z)),
                "",
                *(
                    f"{SYMBOL[int(n)]} {a:.8f} {b:.8f} {c:.8f}"
                    for n, (a, b, c) in zip(z, pos, strict=True)
                ),
            ]
        )
        mol = Chem.MolFromXYZBlock(text)
        rdDetermineBonds.DetermineBonds(mol, charge=0, allowChargedFragments=True)
        mol.SetProp("_Name", f"gdb_{idx}")
        blocks.append(Chem.MolToMolBlock(mol) + "$$$$\n")
        values = [157.7118, 157.70997, 157.70699, *y.tolist(), *atomization(z, y)]
        rows.append(",".join([f"gdb_{idx}", *(repr(float(f"{v:.9f}")) for v in values)]))
    return "".join(blocks), "\n".join(rows) + "\n"


def write_gdb9_archive(raw, path):
    """DeepChem's ``gdb9.tar.gz``."""
    sdf, table = sdf_and_table(raw)
    with tarfile.open(path, "w:gz") as archive:
        _add(archive, "gdb9.sdf", sdf)
        _add(archive, "gdb9.sdf.csv", table)
    return path


def pyg_list(raw):
    """PyG's ``qm9_v3.pt``: a dict a molecule, labels as its ``process`` makes them."""
    from torch_geometric.datasets.qm9 import conversion

    dicts = []
    for idx, z, pos, y, _ in molecules(raw)[1:]:
        target = torch.tensor([*y.tolist(), *atomization(z, y), 157.7, 157.7, 157.7])
        dicts.append(
            {
                "z": torch.from_numpy(z).long(),
                "pos": torch.tensor(pos.tolist()),
                "y": (target * conversion).unsqueeze(0),
                "idx": torch.tensor([idx - 1]),
            }
        )
    return dicts


def write_pyg_raw_folder(raw, root):
    """The folder from which PyG's ``QM9(root)`` makes its ``data_v3.pt`` without a download."""
    (root / "raw").mkdir(parents=True)
    sdf, table = sdf_and_table(raw)
    (root / "raw" / "gdb9.sdf").write_text(sdf)
    (root / "raw" / "gdb9.sdf.csv").write_text(table)
    # Nine lines of heading, rows of the table to leave out, a line of dashes and a last one.
    listed = "\n" * 9 + "        1  C\n------\n"
    (root / "raw" / "uncharacterized.txt").write_text(listed)
    return root


def _add(archive, name, text):
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
