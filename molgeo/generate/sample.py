"""Structures off equilibrium: thermal conformers, noise and dimers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.files.readers import read_all
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow, check_geometry
from molgeo.data.qm9.dataset import QM9
from molgeo.generate.dimers import place
from molgeo.generate.dynamics import langevin, learned_forces, mmff_forces
from molgeo.generate.journal import FrameJournal, Kept
from molgeo.generate.plan import SamplePlan
from molgeo.generate.workers import map_in_processes
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress
from molgeo.runtime.whole_file import is_same_file

EQUILIBRATION: Final = 4
"""Samples thrown away at the start of each trajectory."""

Row = Molecule | SmilesRow | BadRow

Start = tuple[int, Row, Row]
"""Number of a molecule, the molecule, and the one beside it for dimers."""


@dataclass(frozen=True)
class Sampler:
    """Makes the structures of one molecule; a function of the plan's seed and its number alone.

    Attributes:
        plan: what to make.
    """

    plan: SamplePlan

    def __call__(self, start: Start) -> list[Atoms]:
        """The structures, with ``kind``, ``group`` and ``T`` in their ``info``.

        Raises:
            ValueError: there is no geometry, or no force field knows the molecule.
            FloatingPointError: a trajectory breaks down.
        """
        number, row, other = start
        rng = np.random.default_rng([self.plan.seed, number])
        molecule = _with_geometry(row)
        made = [
            *self._thermal(molecule, rng),
            *self._noisy(molecule, rng),
            *self._dimers(molecule, other, rng),
        ]
        for atoms in made:
            atoms.info["group"] = number
        return made

    def _thermal(self, molecule: Molecule, rng: np.random.Generator) -> Iterator[Atoms]:
        plan = self.plan
        if not plan.thermal:
            return
        if plan.model:
            forces = learned_forces(plan.model, molecule)
        else:
            molecule = _with_known_bonds(molecule)
            forces = mmff_forces(molecule)
        T = float(rng.choice(plan.temperatures))
        trajectory = langevin(molecule.z, molecule.pos, forces, T, rng, plan.steps)
        for pos in itertools.islice(trajectory, EQUILIBRATION, EQUILIBRATION + plan.thermal):
            yield _atoms(molecule, pos, "thermal", T=T)

    def _noisy(self, molecule: Molecule, rng: np.random.Generator) -> Iterator[Atoms]:
        for _ in range(self.plan.noise):
            sigma = float(np.exp(rng.uniform(*np.log(self.plan.amplitudes))))
            noise = sigma * rng.standard_normal(molecule.pos.shape)
            yield _atoms(molecule, molecule.pos + noise, "noise", noise_size=round(sigma, 4))
        if self.plan.geometry:
            yield _atoms(molecule, molecule.pos, "geometry")

    def _dimers(self, molecule: Molecule, row: Any, rng: np.random.Generator) -> Iterator[Atoms]:
        whole, part = divmod(self.plan.dimers, 1.0)
        for _ in range(int(whole) + int(rng.random() < part)):
            try:
                other = _with_geometry(row)
            except ValueError:
                continue  # it is a failure of its own, in its own place
            wanted = float(rng.uniform(*self.plan.contacts))
            pair = ((molecule.z, molecule.pos), (other.z, other.pos))
            beside = place(*pair, wanted, rng)
            z = np.concatenate([molecule.z, other.z])
            dimer = Molecule(z, np.concatenate([molecule.pos, beside]))
            yield _atoms(dimer, dimer.pos, "dimer", contact=round(wanted, 3))


def _with_geometry(row: Row) -> Molecule:
    """A molecule with coordinates.

    Raises:
        ValueError: there are none, or they are unsound.
    """
    made = embed(row) if isinstance(row, SmilesRow) else row
    if isinstance(made, list):
        made = made[0]
    if isinstance(made, BadRow):
        raise ValueError(made.message)
    if reason := check_geometry(made):
        raise ValueError(reason)
    return made


def _with_known_bonds(molecule: Molecule) -> Molecule:
    """A conformer of the SMILES, for a geometry that came from elsewhere: MMFF94 needs bonds."""
    if molecule.geometry != "given":
        return molecule
    if not molecule.smiles:
        raise ValueError("MMFF94 needs bonds: give a SMILES, or a learned force field as model")
    return _with_geometry(SmilesRow(molecule.smiles, molecule.name, molecule.input))


def _rows(sources: Sequence[str], limit: int) -> list[Row]:
    """Molecules of the inputs; ``qm9`` is the prepared data set."""
    rows = itertools.chain.from_iterable(_qm9() if s == "qm9" else read_all([s]) for s in sources)
    return list(itertools.islice(rows, limit or None))


def _qm9() -> Iterator[Molecule]:
    data = QM9()
    m = data.molecules
    for row, (a, b) in enumerate(itertools.pairwise(m.ptr.tolist())):
        name = f"qm9 {int(m.idx[row])}"
        yield Molecule(
            m.z[a:b].long().numpy(), m.pos[a:b].double().numpy(), 0, data.smiles(row), name
        )


def _atoms(molecule: Molecule, pos: Any, kind: str, **info: Any) -> Atoms:
    about = {"kind": kind, "charge": molecule.charge, **info}
    return Atoms(molecule.z, pos, info=about)


def sample_structures(
    sources: Sequence[str],
    output: str | Path,
    plan: SamplePlan,
    limit: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
) -> Kept:
    """Make structures of all molecules of some inputs.

    A run that was killed goes on if it is called again. A molecule that fails is set aside with
    its reason in ``OUTPUT.failed.jsonl``.

    Args:
        sources: SMILES and files, as `molgeo.chem.files.readers` reads them, and ``qm9``.
        output: extxyz, which grows molecule by molecule, in the order of the input; each frame's
            ``group`` is the number of its (first) molecule, from 0.
        plan: what to make of each.
        limit: molecules; 0 for all.
        workers: processes; 0 for one per core.
        progress: called with (molecules done, molecules in all).

    Returns:
        How many molecules have structures, how many have none, and where the reasons stand.

    Raises:
        UserError: an input cannot be read, or the output is another run's, or an input itself.
    """
    output = Path(output)
    if output.suffix != ".extxyz":
        raise SettingError(f"output: expected a name that ends in .extxyz, got {output}")
    if any(is_same_file(output, source) for source in sources):
        raise SettingError(f"output: {output} is an input: give another name")
    rows = _rows(sources, limit)
    about = {"sources": list(sources), "molecules": len(rows), **asdict(plan)}
    journal = FrameJournal(output, about)
    partners = np.random.default_rng(plan.seed).permutation(len(rows))
    items = ((k, rows[k], rows[partners[k]]) for k in range(journal.next_row, len(rows)))
    return journal.keep(map_in_processes(Sampler(plan), items, workers), len(rows), progress)
