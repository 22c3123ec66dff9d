"""Train the model of QM9's properties for molecules with Si, P, S and Cl.

    python benchmarks/other_elements/train.py WORK

A few hundred labels are too few to learn what an element is. So the net begins as two shipped ones
side by side (`start.py`).

Each molecule comes as it is, as the geometry engine relaxes it, and as MMFF94 does, with the
same label. Each batch has molecules labelled at QM9's level, many more of those that are labelled
in a smaller basis or are QM9's small ones, and some of QM9. A molecule without frequencies teaches
the difference of U0 and ZPVE. The rate is constant, then falls to zero over the last 60%. The state
is in WORK every minute: a run that was killed goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from rdkit import RDLogger
from start import NAME, ORBITALS, START, fit_baseline, started, with_orbitals
from torch import Tensor

from data import molecule_set, molecules, small_of_qm9, some_of_qm9, wide_molecules
from molgeo.chem.conformers.force_field import Conformers, relax
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.data.molecules import Batch, MoleculeSet
from molgeo.data.qm9.dataset import LEVEL_OF_THEORY
from molgeo.data.qm9.properties import NAMES
from molgeo.datasets import QM9
from molgeo.evaluation.cards import markdown
from molgeo.graph import Graph
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import (
    DEFAULT_FORCE_FIELD,
    geometry_engine,
    read_header,
    save_checkpoint,
)
from molgeo.predictor.domain import Domain
from molgeo.predictor.heads import pool
from molgeo.simulation.engine import GeometryEngine
from molgeo.training.export import commit
from molgeo.training.optimisation import MuonAndAdamW
from molgeo.training.references import domain_of

N_QM9: Final = 40_000
"""Molecules of QM9's training part."""
BATCH: Final = 3
BATCH_WIDE: Final = 47
BATCH_QM9: Final = 10
SHARE, SHARE_QM9 = 0.25, 0.5
"""What the means over the new molecules and over those of QM9 count, beside one over the wide ones.
So a molecule at QM9's level counts four times as much as a wide one: with more it is learned by
heart, as there are few."""
APART: Final = (2, 3, 4)
"""Numbers of molecules that are one, far apart."""
FAR: Final = 0.3
"""What the orbitals of such count."""
DECAY: Final = 0.6
EMA: Final = 0.995
SEED: Final = 7
KEPT: Final = 60.0


class Labelled(NamedTuple):
    """Molecules of a table, each at one geometry or several.

    Attributes:
        known: with their labels, all at the first geometry before all at the second.
        energies: (molecules,) electronic, eV.
    """

    known: MoleculeSet
    energies: Tensor

    @classmethod
    def of(cls, known: MoleculeSet, table: pd.DataFrame) -> Labelled:
        """With a table's energies."""
        energies = torch.tensor(table["energy"].to_numpy())
        return cls(known, energies.repeat(len(known) // len(table)))

    def batch(self, chosen: Tensor) -> tuple[Batch, Tensor]:
        """Some of them."""
        return self.known.batch(chosen), self.energies[chosen]


class Material(NamedTuple):
    """What a net learns from.

    Attributes:
        new: molecules labelled at QM9's level.
        wide: molecules labelled in a smaller basis, and small ones of QM9.
        old: QM9.
        rows: of QM9, that train.
        test: molecules that validate.
    """

    new: Labelled
    wide: Labelled
    old: MoleculeSet
    rows: Tensor
    test: MoleculeSet


def geometries(table: pd.DataFrame) -> MoleculeSet:
    """Each molecule as it is, relaxed by the force field, and by MMFF94, if these can."""
    own = [atoms.positions for atoms in table["atoms"]]
    numbers = [atoms.numbers.astype(np.int64) for atoms in table["atoms"]]
    asked = [
        Conformers(z, pos[None], np.zeros(1), np.zeros(1, np.int64), 0, "given")
        for z, pos in zip(numbers, own, strict=True)
    ]
    moved = [one.pos[0] for one in GeometryEngine(str(geometry_engine())).relax(asked)]
    return with_mmff94(table).joined(molecule_set(table, moved))


def with_mmff94(table: pd.DataFrame) -> MoleculeSet:
    """Each molecule as it is, and as MMFF94 relaxes it if it can."""
    cheap = []
    for smiles, atoms in zip(table["smiles"], table["atoms"], strict=True):
        made = (
            relax(SmilesRow(smiles), atoms.numbers.astype(np.int64), atoms.positions)
            if smiles
            else None
        )
        is_made = made is not None and not isinstance(made, BadRow)
        cheap.append(made.pos[0] if is_made else atoms.positions)
    return molecule_set(table).joined(molecule_set(table, cheap))


def losses(net: Predictor, batch: Batch, n: int, energy: Tensor | None = None) -> Tensor:
    """(properties,) mean standardised errors.

    Args:
        net: the model.
        batch: of molecules.
        n: of molecules that are far apart, whose orbitals count as well.
        energy: (molecules,) electronic energies in eV, which count if U0 is not known.
    """
    z, pos, graph = batch.z, batch.pos, batch.graph(net.cutoff)
    atoms = net.heads.per_atom(net.backbone.atom_features(z, pos, graph))
    out, _ = net.repelled(pool(*atoms, net.heads.kinds, z, pos, graph), z, pos, graph)
    mean = error_of(out, batch.y, net, batch, graph)
    far, orbitals = far_apart(batch.y, graph, n)
    out_far = pool(*atoms, net.heads.kinds, z, pos, far)
    mean = mean + FAR * error_of(out_far, orbitals, net, batch, far)
    if energy is not None:
        k, v = NAMES.index("u0"), NAMES.index("zpve")
        units = net.to_units(out, z, pos, graph)
        left = (units[:, k] - units[:, v].detach() - energy).abs() / net.scale[k]
        missing = batch.y[:, k].isnan()
        mean = mean + (left.where(missing, 0.0).sum() / len(left)).to(mean.dtype) / len(NAMES)
    return mean


def error_of(out: Tensor, y: Tensor, net: Predictor, batch: Batch, graph: Graph) -> Tensor:
    """(properties,) mean absolute errors of standardised outputs, of what is known."""
    labels = net.to_standardised(y, batch.z, batch.pos, graph)
    known = ~y.isnan()
    return (out - labels.where(known, out.detach())).abs().sum(0) / known.sum(0).clamp(min=1)


def far_apart(y: Tensor, graph: Graph, n: int) -> tuple[Graph, Tensor]:
    """Each n molecules as one, whose parts are so far apart that none feels another.

    Its highest occupied orbital is the highest of the parts, its lowest unoccupied one the lowest.
    If both lie on one part, the gap is that part's. If not, no mean of local gaps is the gap.

    Args:
        y: (molecules, properties) labels.
        graph: of the molecules.
        n: molecules of which one is made.

    Returns:
        The graph, and (ceil(molecules / n), properties) labels, NaN for what is not known.
    """
    homo, lumo, gap = map(NAMES.index, ORBITALS)
    parts = torch.arange(len(y)) // n
    far = dataclasses.replace(graph, batch=parts[graph.batch], n_molecules=int(parts[-1]) + 1)
    found = y.new_full((far.n_molecules, y.shape[1]), torch.nan)
    for k, choose in ((homo, "amax"), (lumo, "amin")):
        found[:, k] = found[:, k].scatter_reduce(0, parts, y[:, k], choose, include_self=False)
    has_both = (y[:, [homo, lumo]] == found[parts][:, [homo, lumo]]).all(1)
    found[parts[has_both], gap] = y[has_both, gap]
    return far, found


@torch.no_grad()
def measured(net: Predictor, known: MoleculeSet) -> dict[str, float]:
    """Mean absolute errors, in the properties' units."""
    net.eval()
    errors = []
    for part in torch.arange(len(known)).split(128):
        batch = known.batch(part)
        out = net(batch.z, batch.pos, graph=batch.graph(net.cutoff))
        errors.append(torch.stack([out[name] for name in NAMES], 1) - batch.y)
    mean = torch.cat(errors).abs().nanmean(0).tolist()
    net.train()
    return dict(zip(NAMES, mean, strict=True))


class Turns:
    """Numbers of molecules, some at a time: all of them in turn, then all in another order."""

    def __init__(self, n: int, at_once: int, rng: np.random.Generator) -> None:
        self.n, self.at_once, self.rng = n, at_once, rng
        self.left = torch.empty(0, dtype=torch.int64)

    def next(self) -> Tensor:
        """(at_once,) or fewer if there are fewer."""
        if len(self.left) < self.at_once:
            self.left = torch.from_numpy(self.rng.permutation(self.n))
        chosen, self.left = self.left[: self.at_once], self.left[self.at_once :]
        return chosen


def trained(net: Predictor, material: Material, state: Path, minutes: float, rate: float) -> int:
    """Train until the minutes are over, with the average of the weights in the end; its steps."""
    new, wide, rows = material.new, material.wide, material.rows
    optimizer = MuonAndAdamW(net, {"lr": rate, "weight_decay": 0.0, "fused": True})
    average = {name: p.detach().clone() for name, p in net.named_parameters()}
    spent, step, said = 0.0, 0, 0.0
    if state.exists():
        before = torch.load(state, weights_only=True)
        net.load_state_dict(before["net"])
        optimizer.load_state_dict(before["optimizer"])
        average, spent, step = before["average"], before["seconds"], before["step"]
    rng = np.random.default_rng([SEED, step])
    begin, kept = time.monotonic() - spent, spent
    some_new, some_wide = (
        Turns(len(one.energies), at_once, rng)
        for one, at_once in ((new, BATCH), (wide, BATCH_WIDE))
    )
    total, seconds = torch.zeros(len(NAMES)), 60 * minutes
    while (now := time.monotonic() - begin) < seconds:
        some = rows[torch.from_numpy(rng.choice(len(rows), BATCH_QM9, replace=False))]
        factor = min(1.0, (step + 1) / 50, (1 - now / seconds) / DECAY)
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        n = int(rng.choice(APART))
        of_new, of_wide = (
            losses(net, known, n, energies)
            for known, energies in (new.batch(some_new.next()), wide.batch(some_wide.next()))
        )
        of_qm9 = losses(net, material.old.batch(some), n)
        optimizer.zero_grad()
        (SHARE * of_new.mean() + of_wide.mean() + SHARE_QM9 * of_qm9.mean()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step, total = step + 1, total + of_new.detach()
        own = [p.detach() for p in net.parameters()]
        torch._foreach_lerp_([*average.values()], own, 1 - min(EMA, step / (step + 10)))
        if step % 100 == 0:
            loss = float(total.mean()) / 100
            print(f"{now / 60:5.1f} min, step {step}: loss {loss:.4f}", flush=True)
            total.zero_()
        if now > kept + KEPT:
            kept = now
            content = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**content, "average": average, "seconds": now, "step": step}, state)
        if now > said + seconds / 10:
            said = now
            mine = {name: w.clone() for name, w in net.state_dict().items()}
            net.load_state_dict({**mine, **average})
            print({k: round(v, 4) for k, v in measured(net, material.test).items()}, flush=True)
            net.load_state_dict(mine)
    net.load_state_dict({**net.state_dict(), **average})
    return step


def main() -> None:
    """Train, and write the checkpoint with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=17.0, help="of training")
    parser.add_argument("--rate", type=float, default=7e-4)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    RDLogger.DisableLog("rdApp.*")
    torch.manual_seed(SEED)
    torch.set_float32_matmul_precision("medium")
    table = molecules()
    parts = {part: table[table["part"] == part] for part in ("train", "validation")}
    new, test = geometries(parts["train"]), molecule_set(parts["validation"])
    data, wide_table = QM9(), wide_molecules()
    rows = data.split().train[:N_QM9]
    known = Labelled.of(new, parts["train"])
    # Those of a few atoms would come once in a thousand steps among QM9's others.
    both = pd.concat([wide_table, small_of_qm9()])
    wide = Labelled.of(with_mmff94(both), both)
    material = Material(known, wide, data.molecules, rows, test)
    print({part: len(one) for part, one in parts.items()}, len(wide_table))
    net = started()
    small = some_of_qm9(rows[:2000])
    few = molecule_set(parts["train"])
    fit_baseline(net, few, small)
    print("means", {k: round(v, 4) for k, v in measured(net, test).items()})
    net = with_orbitals(net, few.joined(small))
    print("start", {k: round(v, 4) for k, v in measured(net, test).items()}, flush=True)
    state = args.work / "state.pt"
    step = trained(net, material, state, args.minutes, args.rate)
    torch.set_float32_matmul_precision("highest")
    print(step, measured(net, test))
    net.domain = widened(net.domain, domain_of(new, torch.arange(len(parts["train"]))))
    path = args.work / f"{NAME}.safetensors"
    save_checkpoint(net.eval(), path, facts(args, len(parts["train"]), len(wide_table), step))
    path.with_suffix(".md").write_text(markdown(read_header(path)))


def widened(old: Domain, own: Domain) -> Domain:
    """QM9's domain with that of the new molecules, by which rare bonds are judged: they are few."""
    both = old.joined(own)
    assert both.bond_kinds is not None
    assert own.bond_kinds is not None
    kinds = dataclasses.replace(both.bond_kinds, needed=own.bond_kinds.needed)
    return dataclasses.replace(both, bond_kinds=kinds)


def facts(args: argparse.Namespace, n: int, n_wide: int, step: int) -> dict[str, object]:
    """What the checkpoint says of itself."""
    return {
        "name": NAME,
        "data": "QM9+",
        "n_train": n + n_wide + N_QM9,
        "split": "by scaffold",
        "level_of_theory": LEVEL_OF_THEORY,
        "geometry": "dft",
        "geometry_source": f"relaxed at {LEVEL_OF_THEORY} or near to it, the same moved to the "
        f"minima of {geometry_engine()} and of MMFF94",
        "steps": step,
        "command": f"python benchmarks/other_elements/train.py WORK --minutes {args.minutes:g} "
        f"--rate {args.rate:g}",
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "notes": f"For molecules with Si, P, S or Cl. It learned from {n} of them that were "
        f"labelled at QM9's level, from {n_wide:,} that were labelled in the smaller basis "
        f"6-31G(d), and from {N_QM9:,} molecules of QM9. It begins as `{START}` and "
        f"`{DEFAULT_FORCE_FIELD}` side by side. The labels' geometries are B3LYP's or AIMNet2's "
        "minima, these moved by what the bonds of B3LYP's differ in. Vibrations of these are "
        "AIMNet2's, scaled (`benchmarks/other_elements`).",
    }


if __name__ == "__main__":
    main()
