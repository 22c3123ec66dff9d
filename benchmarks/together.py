"""Molecules relaxed together and one by one: steps per second, and the time until all are relaxed.

    python benchmarks/together.py
    python benchmarks/together.py --threads 1 --clock cpu                    # on a busy machine
    python benchmarks/together.py --device cuda --molecules 1024 --alone 8   # needs no ASE

Molecules of QM9 (or chains, if it is not prepared), displaced at random, in float64. The
same molecules go one by one, as many as ``--alone``, in batches of one and, if ASE is installed,
through its BFGS. Their minima are compared with those of the batch first.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sides import molecules
from systems import chain

from molgeo.predictor import Predictor
from molgeo.predictor.ensemble import members
from molgeo.simulation.minimisation import Minimum, Start, minimise
from molgeo.simulation.together import Structure

FMAX, MAX_STEPS = 0.01, 500
DISPLACED = 0.05
"""Å, standard deviation of each coordinate."""
TOLERANCE = 1e-3
"""eV, of a minimum: flat directions end anywhere within it."""

Found = dict[int, tuple[int, float, bool]]
"""Steps, energy in eV and whether it converged, by the number of a molecule."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    (model,) = members(options.model, device, torch.float64)
    data, all_structures = _structures(options.molecules)
    few = all_structures[: options.alone]
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    ways: dict[str, tuple[Callable[[], Found], int]] = {
        "together": (lambda: _minimised(all_structures, model, "auto"), len(all_structures)),
        "batches of one": (lambda: _minimised(few, model, 1), len(few)),
    }
    if importlib.util.find_spec("ase") is not None:
        ways["ASE one by one"] = (lambda: _by_ase(few, model, options.device), len(few))
    _minimised(all_structures[:2], model, "auto")  # kernels are compiled, memory is reserved
    found, report = {}, {"data": data, "model": model.name, "device": options.device, "ways": {}}
    for name, (way, n) in ways.items():
        begin = clock()
        found[name] = way()
        seconds = clock() - begin
        n_steps = sum(steps for steps, *_ in found[name].values())
        report["ways"][name] = {
            "molecules": n,
            "steps": n_steps,
            "seconds": seconds,
            "steps_per_s": n_steps / seconds,
            "ms_per_molecule": 1e3 * seconds / n,
            "converged": sum(converged for *_, converged in found[name].values()),
            "other_minima": _other_minima(found["together"], found[name]),
        }
    for name, row in report["ways"].items():
        row["together_is_faster_by"] = (
            report["ways"]["together"]["steps_per_s"] / row["steps_per_s"]
        )
        print(
            f"{name:15} {row['molecules']:5} molecules, {row['converged']} relaxed, "
            f"{row['steps']} steps, {row['steps_per_s']:8.1f} steps/s, "
            f"{row['ms_per_molecule']:8.1f} ms per molecule, "
            f"{row['other_minima']} at other minima; together is "
            f"{row['together_is_faster_by']:.2f} times as fast"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _structures(n: int) -> tuple[str, list[Structure]]:
    """Where molecules are from, and some of them, displaced. Without QM9 they are chains."""
    name, source = molecules()
    rng = np.random.default_rng(0)
    if name == "qm9":
        picked = [source.batch(torch.tensor([k])) for k in rng.permutation(len(source))[:n]]
    else:
        name, picked = "chains", [chain(10 + 3 * (k % 5), seed=k) for k in range(n)]
    found = []
    for one in picked:
        pos = one.pos.double().numpy()
        pos = pos + DISPLACED * rng.standard_normal(pos.shape)
        found.append(Structure(one.z.long().numpy(), pos))
    return name, found


def _minimised(structures: Iterable[Structure], model: Predictor, batch_size: Any) -> Found:
    starts = (Start(k, each) for k, each in enumerate(structures))
    minima = minimise(starts, [model], FMAX, MAX_STEPS, batch_size)
    return {each.start.key: _fact(each) for each in minima}


def _fact(minimum: Minimum) -> tuple[int, float, bool]:
    return minimum.n_steps, minimum.results.get("energy", np.nan), minimum.converged


def _by_ase(structures: Iterable[Structure], model: Predictor, device: str) -> Found:
    from ase import Atoms

    from molgeo.simulation.calculator import MolgeoCalculator
    from molgeo.simulation.relaxation import relax

    calculator = MolgeoCalculator(
        model, device, "float64", check_geometry=False, allow_unfamiliar=True
    )
    found = {}
    for k, each in enumerate(structures):
        atoms = Atoms(each.z, each.pos, calculator=calculator)
        one = relax(atoms, FMAX, MAX_STEPS)
        found[k] = one.n_steps, one.atoms.get_potential_energy(), one.converged
    return found


def _other_minima(found: Found, others: Found) -> int:
    """How many of the others are not at the minimum that was found, though both are relaxed."""
    return sum(
        both and abs(energy - found[k][1]) > TOLERANCE
        for k, (_, energy, converged) in others.items()
        if (both := converged and found[k][2])
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="molecules relaxed together and one by one")
    parser.add_argument("--model", default="spectrum_net-gfn2")
    parser.add_argument("--molecules", type=int, default=256)
    parser.add_argument("--alone", type=int, default=32, help="molecules that go one by one too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
