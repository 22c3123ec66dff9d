"""Train the model that weighs conformers: which of them is the one that QM9's label is of.

    python benchmarks/conformer_weights.py WORK --molecules 28000 --minutes 50
    python benchmarks/conformer_weights.py WORK --from-member 0 --rate 5e-4 --minutes 50

QM9's conformers were made by rules, not found by their energies, so that no force field says which
of the conformers of a SMILES a label belongs to. A net can learn those rules: of each training
molecule MMFF94's conformers are made from the SMILES, and QM9's own conformer is minimised with
MMFF94 too. Of conformer c with d_c, the root mean square of the differences between its sorted
distances and those of QM9's conformer, the target is

    t_c ∝ n_c exp(−(d_c − min d) / τ),

where n_c counts how often the conformer was made. The loss is the cross-entropy of this and of
``softmax(w_c + ln n_c)``, with w the property `LOG_WEIGHT`. The net starts from the backbone of a
shipped model, or goes on as one of the networks whose mean the shipped weights are
(`campaign/merge.py` makes it).

Conformers are kept beside QM9 (molgeo.generate.qm9.make_once), and the state of the training in
WORK every minute: a run that was killed goes on. The rate is constant, then falls linearly to zero
over the last 60% of the minutes.
"""

from __future__ import annotations

import argparse
import datetime
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molgeo.chem.conformers.distinct import first_alike, profiles
from molgeo.chem.molecule import BadRow
from molgeo.data.geometries import FlatGeometries, join, with_labels
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.properties import LOG_WEIGHT
from molgeo.datasets import QM9
from molgeo.evaluation.cards import markdown
from molgeo.generate.geometries import parted
from molgeo.generate.qm9 import make_once
from molgeo.ops.segment import gather, scatter_sum
from molgeo.prediction.conformer_average import WEIGHED_CONFORMERS as CONFORMERS
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, read_header, save_checkpoint
from molgeo.runtime.progress import progress
from molgeo.training.export import commit
from molgeo.training.optimisation import MuonAndAdamW

NAME: Final = "spectrum_net-conformers"
START: Final = "spectrum_net-qm9-small"
PIECE: Final = 200
"""Molecules whose conformers are one file."""
SHARPNESS: Final = 0.03
"""Å, τ: what `molgeo.chem.conformers.distinct.ALIKE` calls the same conformer."""
NEAR: Final = 0.1
"""Å: a molecule of which no conformer is nearer to QM9's counts in no share of hits."""
NOISE: Final = 0.04
"""Å, of all coordinates in training, so that no molecule is known by their digits."""
VALIDATION: Final = 2000
BATCH: Final = 16
RATE: Final = 1e-3
"""Of Muon and AdamW at the start."""
DECAY: Final = 0.6
EMA: Final = 0.998
SEED: Final = 7
KEPT: Final = 60.0
"""Seconds after which the state is written again."""


class Molecules(NamedTuple):
    """Different conformers of molecules that have two or more.

    Attributes:
        set: all conformers.
        places: (conformers,) int64, of these in the set, molecule by molecule.
        first: (molecules + 1,) int64, ``places[first[m]:first[m + 1]]`` are of molecule m.
        log_count: (conformers,) float32, ln n_c.
        target: (conformers,) float32, t_c.
        apart: (conformers,) float32, d_c, Å.
    """

    set: MoleculeSet
    places: Tensor
    first: Tensor
    log_count: Tensor
    target: Tensor
    apart: Tensor

    def to(self, device: str) -> Molecules:
        """The same on another device."""
        return Molecules(*(one.to(device) for one in self))


class Chosen(NamedTuple):
    """Conformers of some molecules, and which molecule of these each belongs to."""

    conformers: Tensor
    owner: Tensor
    n: int


def made(data: QM9, rows: np.ndarray) -> Molecules:
    """Conformers of some molecules, and how near they are to QM9's."""
    cheap, own = [], []
    with progress("conformers") as report:
        for k in range(0, len(rows), PIECE):
            piece = np.sort(rows[k : k + PIECE])
            cheap.append(make_once(data, piece, "smiles", CONFORMERS))
            own.append(make_once(data, piece, "mmff", 1))
            report(min(k + PIECE, len(rows)), len(rows))
    return compared(data, join(cheap), join(own))


def compared(data: QM9, cheap: FlatGeometries, own: FlatGeometries) -> Molecules:
    """The different conformers of each molecule with their targets.

    Args:
        data: QM9.
        cheap: conformers made from the SMILES.
        own: QM9's conformers of the same molecules, minimised with the same force field.
    """
    start = cheap.n_conformers.cumsum() - cheap.n_conformers
    first, columns = [0], []
    for at, found, qm9 in zip(start, parted(cheap), parted(own), strict=True):
        if isinstance(found, BadRow) or isinstance(qm9, BadRow):
            continue
        each, n = np.unique(first_alike(found.z, found.pos), return_counts=True)
        if len(each) == 1:
            continue
        theirs, its = profiles(found.z, found.pos[each]), profiles(qm9.z, qm9.pos)
        d = np.sqrt(np.square(theirs - its).mean(1))
        t = n * np.exp((d.min() - d) / SHARPNESS)
        columns.append(np.stack([at + each, np.log(n), t / t.sum(), d]))
        first.append(first[-1] + len(each))
    places, log_count, target, apart = torch.from_numpy(np.concatenate(columns, 1)).unbind()
    rows, nothing = torch.from_numpy(cheap.rows), torch.zeros(len(cheap.rows), 0)
    whole = with_labels(cheap, nothing, data.molecules.idx[rows], (), CONFORMERS)
    numbers = log_count.float(), target.float(), apart.float()
    return Molecules(whole.molecules, places.long(), torch.tensor(first), *numbers)


def chosen(known: Molecules, molecules: Tensor) -> Chosen:
    """All conformers of some molecules, as numbers into the columns of `Molecules`."""
    start, n = known.first[molecules], known.first[molecules + 1] - known.first[molecules]
    each = torch.arange(len(molecules), device=n.device)
    owner = torch.repeat_interleave(each, n)
    own = torch.arange(len(owner), device=n.device)
    return Chosen((start - n.cumsum(0) + n)[owner] + own, owner, len(molecules))


def log_shares(net: Predictor, known: Molecules, some: Chosen, noise: float = 0.0) -> Tensor:
    """``ln softmax(w_c + ln n_c)`` over the conformers of each molecule, with shaken atoms."""
    batch = known.set.batch(known.places[some.conformers])
    if noise:
        batch = batch._replace(pos=batch.pos + noise * torch.randn_like(batch.pos))
    out = net.standardised(batch.z, batch.pos, batch.graph(net.cutoff))[:, 0]
    w = out * net.scale[0].to(out.dtype) + known.log_count[some.conformers]
    top = (
        w.detach().new_full((some.n,), -torch.inf).scatter_reduce(0, some.owner, w.detach(), "amax")
    )
    w = w - gather(top, some.owner)
    return w - gather(scatter_sum(w.exp(), some.owner, some.n).log(), some.owner)


def loss_of(net: Predictor, known: Molecules, molecules: Tensor, noise: float = NOISE) -> Tensor:
    """Mean cross-entropy of the targets and the shares, with shaken atoms."""
    some = chosen(known, molecules)
    shares = log_shares(net, known, some, noise)
    return -(known.target[some.conformers] * shares).sum() / some.n


@torch.no_grad()
def measured(net: Predictor, known: Molecules) -> dict[str, float]:
    """How good the shares are.

    Returns:
        ``cross_entropy``; ``share``, the mean share of QM9's conformer, of molecules that have it;
        and ``share_by_counts``, the same if conformers count as often as they were made.
    """
    losses, shares, before = [], [], []
    for part in torch.arange(len(known.first) - 1, device=known.first.device).split(128):
        some = chosen(known, part)
        log_share = log_shares(net, known, some)
        losses.append(-scatter_sum(known.target[some.conformers] * log_share, some.owner, some.n))
        d = known.apart[some.conformers]
        least = d.new_full((some.n,), torch.inf).scatter_reduce(0, some.owner, d, "amin")
        is_it, has_it = (d < gather(least, some.owner) + SHARPNESS).float(), least < NEAR
        shares.append(scatter_sum(log_share.exp() * is_it, some.owner, some.n)[has_it])
        n = known.log_count[some.conformers].exp()
        counted = scatter_sum(n * is_it, some.owner, some.n) / scatter_sum(n, some.owner, some.n)
        before.append(counted[has_it])
    names = "cross_entropy", "share", "share_by_counts"
    return {
        name: float(torch.cat(x).mean())
        for name, x in zip(names, (losses, shares, before), strict=True)
    }


def started() -> Predictor:
    """The net before its first step: a shipped backbone under a fresh head."""
    old = load(START)
    net = Predictor(old.config.model, old.config.backbone, (LOG_WEIGHT,), old.config.head_features)
    net.backbone.load_state_dict(old.backbone.state_dict())
    with torch.no_grad():
        net.heads.out_weight.zero_()
    net.domain, net.name = old.domain, NAME
    return net


def member(whole: Predictor, k: int) -> Predictor:
    """One of the equal networks whose mean a model is (`molgeo.predictor.merging`).

    The bias of its last layer is the mean of theirs: their own ones are in no checkpoint.
    """
    parts = whole.config.backbone["members"]
    fields = dict(parts[k])
    hidden = whole.heads.hidden // len(parts)
    net = Predictor(fields.pop("model"), fields, whole.properties, hidden)
    room, dim = f"backbone.members.{k}.", net.backbone.feature_dim
    old = whole.state_dict()
    own = {f"backbone.{name.removeprefix(room)}": w for name, w in old.items() if room in name}
    rows, columns = slice(k * hidden, (k + 1) * hidden), slice(k * dim, (k + 1) * dim)
    own |= {name: old[name] for name in ("scale", "heads.out_bias")}
    own["heads.in_layer.weight"] = old["heads.in_layer.weight"][rows, columns]
    own["heads.in_layer.bias"] = old["heads.in_layer.bias"][rows]
    own["heads.out_weight"] = len(parts) * old["heads.out_weight"][:, rows]
    net.load_state_dict({**net.state_dict(), **own})
    net.domain, net.name = whole.domain, NAME
    return net


def trained(
    net: Predictor,
    known: Molecules,
    test: Molecules,
    state: Path,
    minutes: float,
    rate: float = RATE,
    noise: float = NOISE,
) -> int:
    """Train until the minutes are over, with the average of the weights in the end; its steps."""
    optimizer = MuonAndAdamW(net, {"lr": rate, "weight_decay": 0.0, "fused": True})
    average = {name: p.detach().clone() for name, p in net.named_parameters()}
    spent, step, said = 0.0, 0, 0.0
    if state.exists():
        old = torch.load(state, weights_only=True)
        net.load_state_dict(old["net"])
        optimizer.load_state_dict(old["optimizer"])
        average, spent, step = old["average"], old["seconds"], old["step"]
    rng = np.random.default_rng([SEED, step])
    torch.manual_seed(SEED + step)
    begin, kept, order = time.monotonic() - spent, spent, known.first[:0]
    total, seconds = 0.0, 60 * minutes
    while (now := time.monotonic() - begin) < seconds:
        if len(order) < BATCH:
            order = torch.from_numpy(rng.permutation(len(known.first) - 1)).to(known.first.device)
        molecules, order = order[:BATCH], order[BATCH:]
        factor = min(1.0, (step + 1) / 100, (1 - now / seconds) / DECAY)
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        loss = loss_of(net, known, molecules, noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step, total = step + 1, total + loss.item()
        own = [p.detach() for p in net.parameters()]
        torch._foreach_lerp_([*average.values()], own, 1 - min(EMA, step / (step + 10)))
        if step % 200 == 0:
            print(f"{now / 60:5.1f} min, step {step}: loss {total / 200:.4f}", flush=True)
            total = 0.0
        if now > kept + KEPT:
            kept = now
            content = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**content, "average": average, "seconds": now, "step": step}, state)
        if now > said + seconds / 8:
            said = now
            print(_of_average(net, average, test), flush=True)
    net.load_state_dict({**net.state_dict(), **average})
    return step


def _of_average(net: Predictor, average: dict[str, Tensor], test: Molecules) -> dict[str, float]:
    """`measured` with the average of the weights; the net is as it was."""
    own = {name: w.clone() for name, w in net.state_dict().items()}
    net.load_state_dict({**own, **average})
    found = measured(net, test)
    net.load_state_dict(own)
    return found


@torch.no_grad()
def standardise(net: Predictor, known: Molecules) -> None:
    """Give w its size as its unit: a model refuses values that are many units of their property."""
    values = []
    for part in known.places.split(512):
        batch = known.set.batch(part)
        values.append(net(batch.z, batch.pos, graph=batch.graph(net.cutoff))[LOG_WEIGHT.name])
    size = torch.cat(values).square().mean().sqrt()
    net.heads.out_weight /= size / net.scale[0]
    net.heads.out_bias /= size / net.scale[0]
    net.scale.fill_(size)


def begun(k: int | None) -> str:
    """What the net was before, in words."""
    if k is None:
        return f"It starts from the backbone of `{START}`."
    return f"It goes on as network {k} of an earlier `{NAME}`."


def command(options: argparse.Namespace) -> str:
    """How to train the same again."""
    k = options.from_member
    more = "" if k is None else f" --from-member {k}"
    return (
        f"python benchmarks/conformer_weights.py WORK --molecules {options.molecules} "
        f"--minutes {options.minutes:g} --rate {options.rate:g} --noise {options.noise:g}{more}"
    )


def main() -> None:
    """Make the conformers, train, and write the checkpoint with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--molecules", type=int, default=28_000, help="of QM9's training part")
    parser.add_argument("--minutes", type=float, default=50.0, help="of training")
    parser.add_argument(
        "--from-member", type=int, help=f"network of the shipped {NAME} to go on with"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="at the start")
    parser.add_argument("--noise", type=float, default=NOISE, help="of the atoms in training, Å")
    parser.add_argument("--device", default="cpu", help="on which to train")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("medium")
    data = QM9()
    split = data.split()
    order = np.random.default_rng(SEED).permutation(split.train.numpy())
    test = made(data, split.validation.numpy()[:VALIDATION])
    known = made(data, order[: options.molecules])
    print(f"{len(known.first) - 1} and {len(test.first) - 1} molecules have several conformers")
    k = options.from_member
    net = started() if k is None else member(load(NAME), k).train()
    net = net.to(options.device)
    known, test = known.to(options.device), test.to(options.device)
    state = options.work / "state.pt"
    step = trained(net, known, test, state, options.minutes, options.rate, options.noise)
    torch.set_float32_matmul_precision("highest")
    found = measured(net.eval(), test)
    standardise(net, test)
    net = net.cpu()
    print(step, found)
    path = options.work / f"{NAME}.safetensors"
    save_checkpoint(net, path, facts(options, len(known.first) - 1, step, found))
    path.with_suffix(".md").write_text(markdown(read_header(path)))


def facts(
    options: argparse.Namespace, n: int, step: int, found: dict[str, float]
) -> dict[str, object]:
    """What the checkpoint says of itself."""
    return {
        "name": NAME,
        "data": "QM9",
        "n_train": n,
        "split": "110000/10000/10831, seed 42",
        "level_of_theory": "B3LYP/6-31G(2df,p)",
        "geometry": "smiles",
        "geometry_source": "MMFF94, from the SMILES",
        "epochs": step * BATCH // n,
        "steps": step,
        "validation_loss": found["cross_entropy"],
        "command": command(options),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "notes": "Weighs the conformers of a molecule that are made from its SMILES: the shares "
        "are softmax(log_weight). It has learned which of them is the conformer that QM9's labels "
        f"are of. Of {VALIDATION} validation molecules those that have it among two or more give "
        f"it a share of {found['share']:.0%}, instead of {found['share_by_counts']:.0%} if each "
        f"counts as often as it was made. {begun(options.from_member)} "
        "A weight of one conformer alone means nothing.",
    }


if __name__ == "__main__":
    main()
