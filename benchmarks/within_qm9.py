"""Whether error bars hold for molecules of another kind than a model was trained on, within QM9.

    python benchmarks/within_qm9.py train smaller     # one to two minutes of one core each
    python benchmarks/within_qm9.py train size
    python benchmarks/within_qm9.py train scaffold
    python benchmarks/within_qm9.py measure           # writes within_qm9.json, prints the tables

Labels are exact here, and there are thousands of them, which no set from outside of QM9 offers.
A small SpectrumNet is trained without a kind of molecules, its bars are calibrated without that
kind too, and then both meet it:

* **size**: trained and calibrated on up to eight heavy atoms, tested on nine;
* **scaffold**: trained on some Bemis-Murcko scaffolds, calibrated on validation molecules whose
  scaffolds are not among these, tested on scaffolds that were left out whole.

How bars grow is fitted to a third model, **smaller**, of up to seven heavy atoms, and to training
molecules of eight that it has not seen.
`within_qm9_bars.py` has the method.

Training molecules are of QM9's training part, those to calibrate on of its validation part, those
to test on of its test part. All at QM9's own geometries.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor
from within_qm9_bars import Bars, Seen, exponents, seen

from molgeo.data.location import data_dir
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.datamodule import QM9DataModule
from molgeo.data.qm9.dataset import QM9
from molgeo.data.split import Split
from molgeo.predictor import checkpoint
from molgeo.training.config import config_from
from molgeo.training.qm9 import QM9Config, QM9Task
from molgeo.training.run import train

Kind = Literal["smaller", "size", "scaffold"]

LARGEST: Final = 8
"""Heavy atoms of the largest molecules to train on, if larger ones are left out."""

SCAFFOLD_SHARE: Final = 0.25
"""Part of the scaffolds that is left out."""

TRAINED: Final = 18_000
"""Molecules to train on, of either kind: about all those of up to eight heavy atoms."""

CALIBRATED: Final = 8_000
TESTED: Final = 2_000
FITTED: Final = 3_000
"""Molecules of the next size that the growth of bars is fitted to."""

SEED: Final = 16
STEPS: Final = {"smaller": 700, "size": 1000, "scaffold": 1000}
RECIPE: Final[dict[str, Any]] = {
    "model": "spectrum_net",
    "backbone": {
        "n_features": 64, "n_filters": 32, "n_products": 32, "n_blocks": 3, "n_spherical": 3,
        "n_gaussians": 32,
    },
    "head_features": 32, "batch_size": 64, "epoch_size": 16_000, "max_epochs": 1000,
    "optimizer": "muon", "learning_rate": 4e-3, "weight_decay": 0.0, "warmup_steps": 50,
    "schedule": "stable", "decay_fraction": 0.9, "ema_decay": 0.99, "limit_validation": 1000,
    "save_every_steps": 250, "seed": 1, "threads": 1,
}  # fmt: skip
"""Small, so that a core learns it in a minute: bars are compared here, not models."""


def scaffold(smiles: str) -> str:
    """SMILES of the Bemis-Murcko scaffold, rings and what links them; empty without a ring."""
    from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

    return str(MurckoScaffoldSmiles(smiles))


def is_left_out(scaffold: str, seed: int = SEED) -> bool:
    """Whether no model sees a scaffold: drawn by its name, whatever other scaffolds there are."""
    if not scaffold:
        return False  # without a ring there is no scaffold, and one group would be all of these
    digest = hashlib.sha256(f"{seed} {scaffold}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < SCAFFOLD_SHARE * 2**64


def by_size(data: QM9, largest: int = LARGEST) -> Split:
    """Train and calibrate on up to so many heavy atoms, test on the next size."""
    train, validation, test = data.split()
    small = [r[data.molecules.heavy_atoms(r) <= largest] for r in (train, validation)]
    larger = test[data.molecules.heavy_atoms(test) == largest + 1]
    return Split(small[0][:TRAINED], small[1], _drawn(larger))


def by_scaffold(data: QM9) -> Split:
    """Train and calibrate on some scaffolds, test on others."""
    train, validation, test = data.split()

    def of(rows: Tensor, left_out: bool) -> Tensor:
        is_wanted = [is_left_out(scaffold(data.smiles(row))) == left_out for row in rows.tolist()]
        return rows[torch.tensor(is_wanted)]

    kept = of(train[: 4 * TRAINED // 3], False)[:TRAINED]
    return Split(kept, of(validation, False), _drawn(of(test, True)))


def _drawn(rows: Tensor) -> Tensor:
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))
    return rows[order[:TESTED]]


def by_smaller(data: QM9) -> Split:
    """Train on a size less, and meet training molecules of the size that others are trained on."""
    train, validation, _ = data.split()
    n, m = (data.molecules.heavy_atoms(rows) for rows in (train, validation))
    return Split(train[n < LARGEST], validation[m < LARGEST], train[n == LARGEST][:FITTED])


SPLITS: Final = {"smaller": by_smaller, "size": by_size, "scaffold": by_scaffold}


class WithinConfig(QM9Config):
    """A run on a part of QM9.

    Attributes:
        left_out: what is never trained on, a key of `SPLITS`.
    """

    left_out: Kind = "size"


class WithinModule(QM9DataModule):
    """QM9 without a kind of molecules."""

    left_out: Kind = "size"

    def load(self) -> tuple[MoleculeSet, Split]:
        """The data set, and the parts that leave a kind out."""
        data = QM9(self.root)
        return data.molecules.select(self.properties), SPLITS[self.left_out](data)


class WithinTask(QM9Task):
    """QM9's properties, learned without a kind of molecules."""

    config_class = WithinConfig
    config: WithinConfig

    @classmethod
    def data_module(cls, config: WithinConfig, first_step: int) -> WithinModule:
        """The data without what is left out."""
        root = data_dir(config.data_dir) / "qm9"
        module = WithinModule(root, config.properties, **config.batches(first_step))
        module.left_out = config.left_out
        return module


def statistics(error: Tensor, std: Tensor, interval: Tensor, flagged: Tensor) -> dict[str, float]:
    """How often bars hold, how wide they are, and whether what is flagged is worse.

    Args:
        error: (molecules,) value minus label, in the property's unit.
        std: (molecules,) half of the interval for 68%.
        interval: (molecules,) half of the interval for 90%.
        flagged: (molecules,) bool, outside the domain.

    Returns:
        Shares, and means in the property's unit; NaN of no molecule.
    """
    size = error.abs()
    return {
        "n": len(error),
        "mae": float(size.mean()),
        "within_std": float((size <= std).double().mean()),
        "within_90": float((size <= interval).double().mean()),
        "half_width_90": float(interval.mean()),
        "flagged": float(flagged.double().mean()),
        "mae_flagged": float(size[flagged].mean()),
        "mae_unflagged": float(size[~flagged].mean()),
    }


def measure(folder: Path, data: QM9) -> dict[str, Any]:
    """Coverage of both kinds, with bars of one width and with bars that grow.

    Args:
        folder: of the trained models.
        data: QM9.

    Returns:
        Kind → ``before`` and ``after`` → column → `statistics`; and the exponents.
    """
    _, inside, beyond = _seen(folder, "smaller", data)
    grow = exponents(inside, beyond)
    constant = {name: torch.zeros(2) for name in grow}
    results: dict[str, Any] = {"exponents": {name: two.tolist() for name, two in grow.items()}}
    for kind in ("size", "scaffold"):
        split, inside, tested = _seen(folder, kind, data)
        groups, alike = {}, inside
        if kind == "scaffold":
            groups, alike = _of_scaffolds(data, split.test), inside.some(_is_new(data, split))
        results[kind] = {"calibrated": [len(inside.error), len(alike.error)]}
        flagged = Bars(inside, grow).flagged(tested)
        for name, bars in (("before", Bars(inside, constant)), ("after", Bars(alike, grow))):
            rows = {}
            for k, one in enumerate(tested.properties):
                error, (std, interval) = tested.error[:, k], bars.widths(tested, k)
                holds = (error.abs() <= interval).double()
                rows[one.column] = {
                    **statistics(error, std, interval, flagged),
                    "within_90_by_scaffold": {g: float(holds[i].mean()) for g, i in groups.items()},
                }
            results[kind][name] = rows
    return results


def _seen(folder: Path, kind: Kind, data: QM9) -> tuple[Split, Seen, Seen]:
    """A split, and what its model makes of molecules like its own and of those left out."""
    split = SPLITS[kind](data)
    predictor = checkpoint.load(folder / kind / f"within-{kind}.safetensors").eval()
    molecules = data.molecules.select(predictor.property_names)
    largest = int(molecules.heavy_atoms(split.train).max())
    parts = (split.train[: TRAINED // 3], split.validation[:CALIBRATED], split.test)
    sizes = [molecules.heavy_atoms(rows) / largest for rows in parts]
    return split, *seen(predictor, molecules, parts, sizes)


def _is_new(data: QM9, split: Split) -> Tensor:
    """Which molecules to calibrate on have a scaffold that none to train on has, (molecules,)."""
    known = {scaffold(data.smiles(row)) for row in split.train.tolist()}
    rows = split.validation[:CALIBRATED].tolist()
    return torch.tensor([scaffold(data.smiles(row)) not in known for row in rows])


def _of_scaffolds(data: QM9, rows: Tensor) -> dict[str, Tensor]:
    """Which molecules are of scaffolds with how many of them."""
    names = [scaffold(data.smiles(row)) for row in rows.tolist()]
    counts = Counter(names)
    n = torch.tensor([counts[name] for name in names])
    return {"1": n == 1, "2-9": (n > 1) & (n < 10), "10+": n > 9}


def table(results: dict[str, Any], kind: str) -> str:
    """Both bars of a kind, as Markdown."""
    lines = [
        "| property | error | of flagged | of others | 90% before | 68% | 90% | ± before | ± |",
        f"|---|{'--:|' * 8}",
    ]
    for column, now in results[kind]["after"].items():
        before = results[kind]["before"][column]
        errors = " | ".join(f"{now[e]:.3g}" for e in ("mae", "mae_flagged", "mae_unflagged"))
        shares = [before["within_90"], now["within_std"], now["within_90"]]
        widths = " | ".join(f"{bars['half_width_90']:.3g}" for bars in (before, now))
        lines.append(
            f"| {column} | {errors} | {' | '.join(f'{s:.1%}' for s in shares)} | {widths} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one of the models, or measure with all of them."""
    parser = argparse.ArgumentParser(description="error bars within QM9, by size and by scaffold")
    parser.add_argument("do", choices=["train", "measure"])
    parser.add_argument("kind", nargs="?", choices=list(SPLITS), help="of the model to train")
    parser.add_argument("--folder", type=Path, default=Path("runs/within_qm9"))
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args(arguments)
    if options.do == "train":
        if not options.kind:
            parser.error("train: expected smaller, size or scaffold")
        fields = {"data": "within_qm9.WithinTask", "left_out": options.kind, **RECIPE}
        name = {"name": f"within-{options.kind}", "run_dir": str(options.folder / options.kind)}
        print(train(config_from({**fields, **name, "max_steps": STEPS[options.kind]})))
        return
    results = measure(options.folder, QM9())
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    for kind in ("size", "scaffold"):
        one = next(iter(results[kind]["after"].values()))
        print(f"\n{kind}: {one['n']} molecules, {one['flagged']:.1%} flagged\n")
        print(table(results, kind))


if __name__ == "__main__":
    main()
