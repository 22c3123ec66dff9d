"""A step of dynamics through ASE, by molgeo's force fields, GFN2-xTB and AIMNet2.

    python benchmarks/methods.py --residues 0 1 2 5 11
    python benchmarks/methods.py --models spectrum_net-aimnet2 my-own.safetensors

Chains of alanine of 12 to 122 atoms at 300 K, one thread, CPU time, in turn. Steps of molgeo are
those of `molgeo md --compile`, and of a run without it that is long enough to be replayed, if it
may be. A method that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet
from measure import Quartiles

from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.motion import set_momenta
from molgeo.simulation.relaxation import relax
from molgeo.simulation.replay import MOST_EDGES
from molgeo.simulation.structures import structures

TIMESTEP_FS = 0.5
"""GFN2-xTB begins each step with the charges of the last one: atoms that hardly move would be of
no cost to it."""

TEMPERATURE = 300.0


MODELS = ["spectrum_net-aimnet2", "spectrum_net-aimnet2-small"]


def gfn2() -> Calculator:
    """GFN2-xTB by tblite."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def aimnet2() -> Calculator:
    """The ensemble of four networks, as `molgeo data label` takes it."""
    from molgeo.generate.aimnet2_method import AIMNet2

    return AIMNet2()


METHODS: dict[str, Callable[[], Calculator]] = {"gfn2": gfn2, "aimnet2": aimnet2}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark and return the rows that it prints, in ms a step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--residues", nargs="+", type=int, default=[0, 1, 2, 5, 11])
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of each repeat")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for n in options.residues:
        (atoms,) = structures("CC(=O)N" + "[C@@H](C)C(=O)N" * n + "C")
        atoms.calc = MolgeoCalculator(options.models[0], "cpu")
        atoms = relax(atoms, 0.1).atoms
        set_momenta(atoms, TEMPERATURE, 3 * len(atoms) - 6, np.random.default_rng(0))
        own = len(atoms) * (len(atoms) - 1) <= MOST_EDGES or "auto"
        runs = {}
        ours = {
            f"{one}{', compiled' if how == 'compiled' else ''}": partial(
                MolgeoCalculator, one, "cpu", replay=how
            )
            for one in options.models
            for how in ("compiled", own)
        }
        for name, make in {**ours, **METHODS}.items():
            moving = atoms.copy()
            try:
                moving.calc = make()
                runs[name] = VelocityVerlet(moving, TIMESTEP_FS * units.fs)
                runs[name].run(2)
            except Exception as error:
                print(f"{name}: left out, {type(error).__name__}: {error}")
                runs.pop(name, None)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.repeats):
            for name, run in runs.items():
                begun = time.process_time()
                run.run(options.steps)
                times[name].append(1e3 * (time.process_time() - begun) / options.steps)
        row = {name: Quartiles.of(found).median for name, found in times.items()}
        rows.append({"atoms": len(atoms), **row})
        print(len(atoms), *(f"{name} {ms:.1f} ms" for name, ms in row.items()), flush=True)
    return rows


if __name__ == "__main__":
    main()
