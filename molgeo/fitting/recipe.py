"""What a fit does by itself, by the number of molecules that it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from molgeo.properties import HeadKind

START: Final = "spectrum_net-aimnet2-small"
"""The shipped model whose backbone a fit starts from: twelve elements and charges."""

FRESH: Final = {
    "model": "spectrum_net",
    "backbone": {
        "n_features": 128,
        "n_filters": 32,
        "n_products": 48,
        "n_blocks": 3,
        "n_gaussians": 32,
        "n_spherical": 4,
        "cutoff": 5.0,
        "charges": True,
    },
}
"""The same backbone without what it has learned."""

FEWEST: Final = 50
"""Molecules below which a fit is refused: their folds would have fewer than ten."""


COMPARED_KINDS: Final[dict[bool, tuple[HeadKind, ...]]] = {
    False: ("moments", "mean", "sum"),
    True: ("mean", "sum"),
}
"""Whether the backbone is fresh → kinds of networks that are compared, the likeliest first."""

KERNEL: Final = "kernel"
"""The kind of head that is not trained, and takes the place of ``moments`` if it can be fitted."""


FOR_DIPOLES: Final = 8
"""Conformers of molecules whose values may be dipoles. No other value differs as much from one to
the next: with 8 in place of 2, errors of dipoles are 1.3% smaller, and of polarizabilities 1%."""


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted.

    Attributes:
        members: models whose mean is the answer.
        folds: parts of the rows that are not tested on, of which each member lacks one.
        conformers: of each SMILES, which are trained on, and of which values are averages.
        epochs: for which the backbone is trained too, at most; of heads of moments it stays as it
            is.
        patience: epochs without improvement after which a member ends.
        heads_first: epochs of the heads alone, of one conformer of each molecule.
        batch_size: molecules per step.
    """

    members: int
    folds: int
    conformers: int
    epochs: int
    patience: int
    heads_first: int = 60
    batch_size: int = 32

    def run(self, n: int) -> dict[str, Any]:
        """Keys of a member's run.

        Args:
            n: molecules that it is trained on.
        """
        steps = max(1, n // self.batch_size)
        return {
            "heads_first": max(1, self.heads_first // self.conformers),  # of so many conformers
            "head_features": 128,
            "batch_size": self.batch_size,
            "epoch_size": n,
            "max_epochs": self.epochs,
            "patience": self.patience,
            "optimizer": "muon",
            "learning_rate": 1e-3,
            "weight_decay": 0.01,
            "warmup_steps": min(100, 2 * steps),
            "schedule": "cosine",
            "ema_decay": 0.99,
            "clip_norm": 5.0,
            "save_every_steps": max(50, min(500, steps)),
            "log_every_steps": max(1, min(50, steps)),
        }


def recipe_for(n: int, from_scratch: bool) -> Recipe:
    """The recipe for so many molecules.

    Args:
        n: molecules with a value, without those that are tested on.
        from_scratch: the backbone has learned nothing yet.
    """
    more = 3 if from_scratch else 1
    if n <= 1_000:
        return Recipe(5, 5, 4, 30 * more, 8 * more)
    if n <= 2_000:
        return Recipe(5, 5, 4, 30 * more, 8 * more, batch_size=64)
    if n <= 10_000:
        return Recipe(5, 5, 2, 24 * more, 6 * more, batch_size=64)
    return Recipe(5, 5, 1, 12 * more, 4 * more, heads_first=30, batch_size=128)
