"""What a force field's minima are worth as geometries, on molecules that it was not trained on.

    python benchmarks/geometry_engine_minima.py qm9 MODEL [--limit 300] [--start mmff]
    python benchmarks/geometry_engine_minima.py ppe MODEL --ppe ppe1694.json.gz --work WORK

``qm9``: the errors of `spectrum_net-qm9` on validation molecules of QM9, whose own conformers were
minimised with MMFF94 (``mmff``; ``smiles`` are conformers of the SMILES) and then with MODEL.
``ppe``: bonds and positions beside B3LYP/6-31G(2df,p) for the molecules of another set that are
held out and that QM9 lacks. Minima are sought from MMFF94's next to the right one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from geometry_engine import flat_smiles_of, laid_on, of_file
from geometry_sources import Structure, dft

from molgeo.data.split import TEST
from molgeo.datasets import QM9
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load
from molgeo.predictor.ensemble import members
from molgeo.simulation import together
from molgeo.simulation.minimisation import Start, minimise

Structures = dict[int, Structure]
PROPERTIES = "spectrum_net-qm9"
SHOWN = ("gap", "homo", "lumo", "mu", "alpha", "r2", "u0", "zpve", "cv")
STEPS = 300


def relaxed(structures: Mapping[int, Structure], model: str, fmax: float) -> tuple[Structures, str]:
    """Minima by a force field in float32; those that fail stay where they are. And the cost."""
    models = members(model, torch.device("cpu"), torch.float32, True)
    starts = [
        Start(key, together.Structure(z.astype(np.int64), pos.astype(np.float64)))
        for key, (z, pos) in structures.items()
    ]
    begin, found = time.process_time(), dict(structures)
    minima = list(minimise(starts, models, fmax, STEPS))
    cost = 1000 * (time.process_time() - begin) / len(minima)
    for one in minima:
        if not one.failed:
            found[one.start.key] = (one.start.structure.z, one.pos)
    lost = sum(not one.converged for one in minima)
    steps = np.mean([one.n_steps for one in minima])
    return found, f"{steps:.1f} steps, {cost:.0f} ms each, {lost} of {len(minima)} not converged"


def predicted(structures: Mapping[int, Structure], model: Predictor) -> np.ndarray:
    """(structures, properties) by the model of relaxed geometries."""
    found, all_of = [], list(structures.values())
    for k in range(0, len(all_of), 32):
        some = all_of[k : k + 32]
        z = torch.from_numpy(np.concatenate([z for z, _ in some])).long()
        pos = torch.from_numpy(np.concatenate([pos for _, pos in some])).float()
        batch = torch.repeat_interleave(torch.tensor([len(one) for one, _ in some]))
        with torch.no_grad():
            values = model(z, pos, batch)
        found.append(np.stack([values[p.name].numpy() for p in model.properties], 1))
    return np.concatenate(found)


def bonds_off(structures: Iterable[Structure], right: Iterable[Structure]) -> np.ndarray:
    """(bonds,) by how many mÅ bonds of heavy atoms are too long."""
    off = []
    for (z, pos), (_, own) in zip(structures, right, strict=True):
        heavy = np.flatnonzero(z > 1)
        d, d0 = (np.linalg.norm(x[heavy][:, None] - x[heavy], axis=-1) for x in (pos, own))
        # Of two atoms of the second row, and of heavier ones
        limit = np.where((z[heavy] > 10)[:, None] | (z[heavy] > 10), 2.2, 1.7)
        off.append(1000 * (d - d0)[np.triu(d0 < limit, 1)])
    return np.concatenate(off)


def deviations(structures: Iterable[Structure], right: Iterable[Structure]) -> np.ndarray:
    """(structures,) Å, root mean square over all atoms, laid on each other."""
    pairs = zip(structures, right, strict=True)
    return np.array([np.sqrt(((laid_on(a, b) - b) ** 2).sum(1).mean()) for (_, a), (_, b) in pairs])


def geometry_line(name: str, structures: Structures, right: Structures) -> str:
    """Bonds and positions in words."""
    pair = structures.values(), [right[key] for key in structures]
    off, rmsd = bonds_off(*pair), deviations(*pair)
    return (
        f"{name:22s} bonds {off.mean():+.1f} mÅ, absolute {np.abs(off).mean():.1f}; "
        f"RMSD median {np.median(rmsd):.3f} Å, below 0.1 Å {np.mean(rmsd < 0.1):.0%}"
    )


def qm9(model: str, limit: int, start: str, fmax: Sequence[float]) -> None:
    """Validation molecules of QM9."""
    data = QM9()
    rows = data.split().validation[:limit].tolist()
    own = dict(zip(rows, dft(data, rows), strict=True))
    properties = load(PROPERTIES).eval()
    geometry = data.geometry("mmff" if start == "mmff" else "smiles")
    starts: Structures = {}
    for row in rows:
        found = geometry.all_of(torch.tensor([row]), 1)
        if len(found):
            one = geometry.molecules.batch(found)
            starts[row] = (one.z.numpy(), one.pos.double().numpy())

    def show(name: str, structures: Structures, cost: str = "") -> None:
        labels = data.molecules.y[torch.tensor(list(structures))].numpy()
        error = np.abs(predicted(structures, properties) - labels)
        names = [p.name for p in properties.properties]
        middle = [f"{n} {error[:, names.index(n)].mean():.4g}" for n in SHOWN]
        where = f"{name:12s}" if start != "mmff" else geometry_line(name, structures, own)
        print(where, " ".join(middle), cost, sep=" | ", flush=True)

    print(len(starts), "molecules")
    show("DFT", {row: own[row] for row in starts})
    show("MMFF94", starts)
    for limit_of_force in fmax:
        show(f"{Path(model).stem} {limit_of_force:g}", *relaxed(starts, model, limit_of_force))


def ppe(model: str, path: Path, work: Path, fewest: int) -> None:
    """Molecules that are held out of another set of minima of the level."""
    from molgeo.chem.bonds import from_coordinates
    from molgeo.generate.bonded import Bonded

    known = [k for k in of_file(path, flat_smiles_of(QM9(), work), 0) if k.part == TEST]
    known = [k for k in known if (k.z > 1).sum() >= fewest]
    right, starts = {}, {}
    for k in known:
        mol = from_coordinates(k.z, k.pos)
        try:
            starts[k.group] = (k.z, Bonded(mol, k.pos).relaxed(2000).pos)
        except (ValueError, RuntimeError):  # MMFF94 and UFF do not know it
            continue
        right[k.group] = (k.z, k.pos)
    sizes = [int((z > 1).sum()) for z, _ in right.values()]
    print(len(right), "molecules of", min(sizes), "to", max(sizes), "atoms other than hydrogen")
    print(geometry_line("MMFF94", starts, right))
    for each in (model, "spectrum_net-aimnet2"):
        found, cost = relaxed(starts, each, 0.02)
        print(geometry_line(Path(each).stem, found, right), cost, sep=" | ", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["qm9", "ppe"])
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=300, help="molecules of QM9")
    parser.add_argument("--start", choices=["mmff", "smiles"], default="mmff")
    parser.add_argument("--fmax", type=float, nargs="+", default=[0.05, 0.02])
    parser.add_argument("--ppe", type=Path, default=None)
    parser.add_argument("--work", type=Path, default=Path("runs/geometry_engine"))
    parser.add_argument("--fewest", type=int, default=6, help="atoms other than hydrogen")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.part == "qm9":
        qm9(options.model, options.limit, options.start, options.fmax)
    else:
        ppe(options.model, options.ppe, options.work, options.fewest)


if __name__ == "__main__":
    main()
