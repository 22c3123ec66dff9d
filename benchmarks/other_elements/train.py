"""Train the model of QM9's properties for molecules with Si, P, S and Cl.

    python benchmarks/other_elements/train.py WORK

A few hundred labels are too few to learn what an element is. So the net begins as two shipped ones
side by side, each with its heads: `spectrum_net-qm9-small`, which knows the properties, and
`spectrum_net-aimnet2`, which knows the elements, and whose energy is that of all four energies. An
element that QM9 lacks begins there as its neighbour in the periodic table. The baseline takes up
what is left on average: composition alone.

Each molecule comes as it is, as the geometry engine relaxes it, and as MMFF94 does, with the
same label. Each batch has molecules labelled at QM9's level, many more of those that are labelled
in a smaller basis, and some of QM9. A molecule without frequencies teaches the difference of U0
and ZPVE. The rate is constant, then falls to zero over the last 60%. The state is in WORK every
minute: a run that was killed goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import math
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import torch
from rdkit import RDLogger
from torch import Tensor
from torch.nn.functional import one_hot as one_hot_of

from data import molecule_set, molecules, some_of_qm9, wide_molecules
from molgeo.chem.conformers.force_field import Conformers, relax
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.data.molecules import Batch, MoleculeSet
from molgeo.data.qm9.dataset import LEVEL_OF_THEORY
from molgeo.data.qm9.properties import NAMES
from molgeo.datasets import QM9
from molgeo.elements import MASSES
from molgeo.evaluation.cards import markdown
from molgeo.ops.segment import molecule_sum
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import (
    DEFAULT_FORCE_FIELD,
    geometry_engine,
    load,
    read_header,
    save_checkpoint,
)
from molgeo.predictor.domain import Domain
from molgeo.predictor.heads import SQUARED_DISTANCE_UNIT, centred
from molgeo.simulation.engine import GeometryEngine
from molgeo.training.export import commit
from molgeo.training.optimisation import MuonAndAdamW
from molgeo.training.references import domain_of
from molgeo.units import BOLTZMANN, HARTREE

NAME: Final = "spectrum_net-elements"
START: Final = "spectrum_net-qm9-small"
ENERGIES: Final = ("u0", "u298", "h298", "g298")
LIKE: Final = {14: 6, 15: 7, 16: 8, 17: 9}
"""Element → the one above it."""
FREE_ATOMS: Final = {
    14: (-289.371989, 3),
    15: (-341.257554, 4),
    16: (-398.105754, 3),
    17: (-460.136686, 2),
}
"""Element → energy in Hartree and multiplicity: unrestricted, exact integrals, at QM9's level. The
same calculation gives QM9's free H, C, N, O and F to 1 µHartree."""
N_QM9: Final = 40_000
"""Molecules of QM9's training part."""
BATCH: Final = 6
BATCH_WIDE: Final = 44
BATCH_QM9: Final = 10
DECAY: Final = 0.6
EMA: Final = 0.995
SEED: Final = 7
KEPT: Final = 60.0


def of_free_atom(element: int, energy: float, multiplicity: int) -> dict[str, float]:
    """Energies of a free atom as QM9 has them: an ideal gas with the spin's degeneracy.

    Args:
        element: its atomic number.
        energy: eV.
        multiplicity: of its spin.
    """
    kT = BOLTZMANN * 298.15
    mass, pressure = MASSES[element] * 1.66053907e-27, 101325.0
    k, h = 1.380649e-23, 6.62607015e-34
    wave = h / math.sqrt(2 * math.pi * mass * k * 298.15)
    entropy = math.log(k * 298.15 / pressure / wave**3) + 2.5 + math.log(multiplicity)
    above = {"u0": 0.0, "u298": 1.5 * kT, "h298": 2.5 * kT, "g298": (2.5 - entropy) * kT}
    return {name: energy + x for name, x in above.items()}


def free_atom(element: int) -> dict[str, float]:
    """Energies of a free atom that QM9 lacks, eV."""
    energy, multiplicity = FREE_ATOMS[element]
    return of_free_atom(element, energy * HARTREE, multiplicity)


def started() -> Predictor:
    """Both nets side by side, before the baseline is fitted."""
    old, field = load(START), load(DEFAULT_FORCE_FIELD)
    members = [
        {"model": one.config.model} | {k: v for k, v in one.config.backbone.items() if k != "n_out"}
        for one in (old, field)
    ]
    hidden = [old.heads.hidden, field.heads.hidden]
    net = Predictor("side_by_side", {"members": members}, old.properties, sum(hidden), True)
    for mine, theirs in zip(net.backbone.members, (old, field), strict=True):
        mine.load_state_dict(theirs.backbone.state_dict())
    with torch.no_grad():
        embedding = net.backbone.members[0].embedding.weight
        for element, like in LIKE.items():
            embedding[element] = embedding[like]
        n, width = len(NAMES), old.backbone.feature_dim
        into = net.heads.in_layer.weight.view(n, sum(hidden), -1)
        bias = net.heads.in_layer.bias.view(n, -1)
        into.zero_()
        into[:, : hidden[0], :width] = old.heads.in_layer.weight.view(n, hidden[0], -1)
        into[:, hidden[0] :, width:] = field.heads.in_layer.weight
        bias[:] = torch.cat(
            [old.heads.in_layer.bias.view(n, -1), field.heads.in_layer.bias.expand(n, -1)], 1
        )
        out = net.heads.out_weight.zero_()
        out[:, : hidden[0]] = old.heads.out_weight
        net.heads.out_bias.copy_(old.heads.out_bias)
        net.scale.copy_(old.scale)
        for k, name in enumerate(NAMES):
            if name in ENERGIES:
                unit = field.scale[0] / old.scale[k]
                out[k, : hidden[0]] = 0.0
                out[k, hidden[0] :] = field.heads.out_weight[0] * unit
                net.heads.out_bias[k] = field.heads.out_bias[0] * unit
        net.baseline.copy_(old.baseline)
        net.atom_reference.copy_(old.atom_reference)
        for element in LIKE:
            for name, energy in free_atom(element).items():
                net.atom_reference[NAMES.index(name), element] = energy
    net.domain, net.name = old.domain, NAME
    return net


@torch.no_grad()
def fit_baseline(net: Predictor, new: MoleculeSet, old: MoleculeSet) -> None:
    """Let composition take up what the net leaves of the labels.

    Energies are another teacher's, so all elements count, by molecules of QM9 too. Of other
    properties only those of new elements do.
    """
    both = new.joined(old)
    outputs, baseline, counts, squares = [], [], [], []
    for part in torch.arange(len(both)).split(256):
        batch = both.batch(part)
        graph = batch.graph(net.cutoff)
        outputs.append(net.standardised(batch.z, batch.pos, graph).double() * net.scale)
        baseline.append(net.baseline_of(batch.z, batch.pos, graph))
        one_hot = one_hot_of(batch.z, net.baseline.shape[-1]).double()
        r2 = centred(batch.z, batch.pos.double(), graph).square().sum(1, keepdim=True)
        counts.append(molecule_sum(one_hot, graph))
        squares.append(molecule_sum(one_hot * r2 / SQUARED_DISTANCE_UNIT, graph))
    x, known = torch.cat(outputs), torch.cat(baseline)
    count, square = torch.cat(counts), torch.cat(squares)
    weight = torch.ones(len(both), 1, dtype=torch.float64)
    weight[len(new) :] = math.sqrt(len(new) / len(old))
    for k, own in enumerate(net.properties):
        if own.head == "dipole":
            continue
        is_energy = own.name in ENERGIES
        elements = both.z.unique().long().tolist() if is_energy else list(LIKE)
        rest = both.y[:, k] - x[:, k] - (0.0 if is_energy else known[:, k])
        rows = rest.isfinite()
        if not is_energy:
            rows[len(new) :] = False
        design = count[:, elements]
        if own.head == "mean":
            design = design / count.sum(1, keepdim=True)
        if own.head == "extent":
            design = torch.cat([design, square[:, elements]], dim=1)
        w, rest = weight[rows], rest[rows].unsqueeze(1)
        fit = torch.linalg.lstsq(design[rows] * w, rest * w, driver="gelsd").solution[:, 0]
        if is_energy:
            net.baseline[k] = 0.0
        for part, values in enumerate(fit.split(len(elements))):
            net.baseline[k, part, elements] = values


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
        wide: molecules labelled in a smaller basis.
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


def losses(net: Predictor, batch: Batch, energy: Tensor | None = None) -> Tensor:
    """(properties,) mean standardised errors.

    Args:
        net: the model.
        batch: of molecules.
        energy: (molecules,) electronic energies in eV, which count if U0 is not known.
    """
    graph = batch.graph(net.cutoff)
    out = net.standardised(batch.z, batch.pos, graph)
    labels = net.to_standardised(batch.y, batch.z, batch.pos, graph)
    known = ~batch.y.isnan()
    errors = (out - labels.where(known, out.detach())).abs()
    mean = errors.sum(0) / known.sum(0).clamp(min=1)
    if energy is not None:
        k, v = NAMES.index("u0"), NAMES.index("zpve")
        units = net.to_units(out, batch.z, batch.pos, graph)
        left = (units[:, k] - units[:, v].detach() - energy).abs() / net.scale[k]
        missing = ~known[:, k]
        mean = mean + (left.where(missing, 0.0).sum() / len(left)).to(mean.dtype) / len(NAMES)
    return mean


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
        mean = losses(net, *new.batch(some_new.next()))
        of_wide = losses(net, *wide.batch(some_wide.next()))
        of_qm9 = losses(net, material.old.batch(some))
        optimizer.zero_grad()
        (mean.mean() + of_wide.mean() + 0.5 * of_qm9.mean()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step, total = step + 1, total + mean.detach()
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
    wide = Labelled.of(with_mmff94(wide_table), wide_table)
    material = Material(known, wide, data.molecules, rows, test)
    print({part: len(one) for part, one in parts.items()}, len(wide_table))
    net = started()
    small = some_of_qm9(rows[:2000])
    fit_baseline(net, molecule_set(parts["train"]), small)
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
