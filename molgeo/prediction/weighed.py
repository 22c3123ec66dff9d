"""Which conformer of a molecule a label of QM9 is of, as a model has learned it.

The conformers of QM9 were made by rules. No energy says which of the conformers of a SMILES is the
one that a label belongs to, and an average over the wrong ones costs more than a model's own error.
The model sees conformers as MMFF94 left them, before any other force field moves them on. It tells
one number w of each, and the shares are ``softmax(w)`` (`molgeo.data.qm9.properties.LOG_WEIGHT`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from molgeo.data.qm9.properties import LOG_WEIGHT
from molgeo.prediction.averages import once
from molgeo.prediction.given import is_as_given

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.molecule import Molecule
    from molgeo.prediction.batches import BatchPredictor


class WeighedRows:
    """Weighs the conformers of rows that were made from a SMILES.

    Args:
        model: of `LOG_WEIGHT`.
    """

    def __init__(self, model: BatchPredictor) -> None:
        self.model = model
        model.keys = [LOG_WEIGHT.name]

    def __call__(self, window: Sequence[Built]) -> list[Built]:
        """Rows whose conformers have a ``log_weight``; those that it does not know, as they are.

        Args:
            window: rows.
        """
        rows = {k: built for k, built in enumerate(window) if isinstance(built, list)}
        alike = {k: once(built) for k, built in rows.items() if self._is_weighed(built)}
        each = list({id(one): one for firsts in alike.values() for one in firsts}.values())
        found = dict(zip(map(id, each), self.model.values(each), strict=True))
        weighed = list(window)
        for k, firsts in alike.items():
            told = [found[id(one)] for one in firsts]
            logs = [one[LOG_WEIGHT.name] for one in told if not isinstance(one, str)]
            if len(logs) == len(firsts):
                pairs = zip(rows[k], logs, strict=True)
                weighed[k] = [replace(one, log_weight=log) for one, log in pairs]
        return weighed

    def _is_weighed(self, conformers: list[Molecule]) -> bool:
        """Whether a row has conformers to weigh that the model knows."""
        if len(conformers) < 2 or is_as_given(conformers[0].geometry):
            return False
        return self.model.refusal(conformers) is None
