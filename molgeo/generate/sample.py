"""Structures off equilibrium, molecule by molecule."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms

from molgeo.chem.files.readers import read_all
from molgeo.chem.molecule import Molecule
from molgeo.data.qm9.dataset import QM9
from molgeo.generate.journal import FrameJournal, Kept
from molgeo.generate.plan import SamplePlan
from molgeo.generate.subject import Row, Subject
from molgeo.generate.workers import map_in_processes
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress
from molgeo.runtime.whole_file import is_same_file

NEIGHBOURS: Final = 256
"""Rows among which partners of clusters are drawn: their conformers are still remembered."""

Start = tuple[int, Row, Row]
"""Number of a molecule, the molecule, and the one beside it in clusters."""


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
        made = list(Subject(self.plan, row, rng).structures(other))
        for atoms in made:
            atoms.info["group"] = number
        return made


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


def _partners(n: int, seed: int) -> list[int]:
    """For each of n rows another near it, each once."""
    rng = np.random.default_rng(seed)
    starts = range(0, n, NEIGHBOURS)
    return [k for s in starts for k in (s + rng.permutation(min(NEIGHBOURS, n - s))).tolist()]


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
    partners = _partners(len(rows), plan.seed)
    items = ((k, rows[k], rows[partners[k]]) for k in range(journal.next_row, len(rows)))
    return journal.keep(map_in_processes(Sampler(plan), items, workers), len(rows), progress)
