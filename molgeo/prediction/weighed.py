"""Which conformer of a molecule a label of QM9 is of, as a model has learned it.

The conformers of QM9 were made by rules. No energy says which of the conformers of a SMILES is the
one that a label belongs to, and an average over the wrong ones costs more than a model's own error.
The model sees conformers as MMFF94 left them, before any other force field moves them on. It tells
one number w of each, and the shares are ``softmax(w)`` (`molgeo.data.qm9.properties.LOG_WEIGHT`).
Those that hardly count (`molgeo.prediction.conformer_average.counting`) are left out, so that they
need not be relaxed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molgeo.data.qm9.properties import LOG_WEIGHT
from molgeo.prediction.averages import once
from molgeo.prediction.conformer_average import counting
from molgeo.prediction.given import is_as_given
from molgeo.prediction.rows import key, remember

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.molecule import Molecule
    from molgeo.prediction.batches import BatchPredictor

Logs = NDArray[np.float64]


class WeighedRows:
    """Weighs the conformers of rows that were made from a SMILES, those of equal molecules once.

    Args:
        model: of `LOG_WEIGHT`.
    """

    def __init__(self, model: BatchPredictor) -> None:
        self.model = model
        model.keys = [LOG_WEIGHT.name]
        self._known: dict[str, Logs | None] = {}

    def __call__(self, window: Sequence[Built]) -> list[Built]:
        """Rows with the conformers that count, which have a ``log_weight``.

        Rows that the model does not know stay as they are.

        Args:
            window: rows.
        """
        rows = {
            k: built
            for k, built in enumerate(window)
            if isinstance(built, list) and self._is_weighed(built)
        }
        names = {k: key(built) or str(k) for k, built in rows.items()}
        new = {name: rows[k] for k, name in names.items() if name not in self._known}
        found = self._known | self._weights(new)
        weighed = list(window)
        for k, name in names.items():
            if (logs := found[name]) is not None:
                told = zip(rows[k], logs.tolist(), counting(logs), strict=True)
                weighed[k] = [replace(one, log_weight=log) for one, log, counts in told if counts]
        remember(self._known, {name: found[name] for name in new})
        return weighed

    def _weights(self, rows: dict[str, list[Molecule]]) -> dict[str, Logs | None]:
        """Logarithms of the weights of conformers, (conformers,); None if one is not known."""
        alike = {name: once(built) for name, built in rows.items()}
        each = list({id(one): one for firsts in alike.values() for one in firsts}.values())
        values = dict(zip(map(id, each), self.model.values(each), strict=True))
        found: dict[str, Logs | None] = {}
        for name, firsts in alike.items():
            told = [values[id(one)] for one in firsts]
            logs = [one[LOG_WEIGHT.name] for one in told if not isinstance(one, str)]
            found[name] = np.array(logs) if len(logs) == len(firsts) else None
        return found

    def _is_weighed(self, conformers: list[Molecule]) -> bool:
        """Whether a row has conformers to weigh that the model knows."""
        if len(conformers) < 2 or is_as_given(conformers[0].geometry):
            return False
        return self.model.refusal(conformers) is None
