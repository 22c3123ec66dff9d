"""Errors of a model over a part of a data set, in published units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from molgeo.datasets.loader import FlatLoader
from molgeo.datasets.qm9 import QM9
from molgeo.precision import MatmulPrecision, matmul_precision
from molgeo.predictor import Predictor
from molgeo.properties import PROPERTIES

Part = Literal["train", "validation", "test"]
Geometry = Literal["dft", "smiles"]
Progress = Callable[[int, int], None]


def evaluate(
    predictor: Predictor,
    root: str | Path | None = None,
    split: Part = "test",
    geometry: Geometry = "dft",
    limit: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
) -> dict[str, Any]:
    """Mean absolute and root mean square errors on QM9.

    Args:
        predictor: the model.
        root: folder of the prepared QM9; None for the default one.
        split: part of the standard split.
        geometry: ``dft``, the data set's own; ``smiles``, a conformer made from the SMILES as
            `molgeo.predict` makes it.
        limit: molecules, taken from the start of the (random) part; 0 for all.
        batch_size: molecules a batch.
        progress: called with (molecules done, molecules in all).
        precision: of float32 matrix products; ``medium`` multiplies in bfloat16, which is faster.

    Returns:
        ``model, data, split, geometry, n``, ``failed`` (molecules without a conformer, not among
        n), and ``mae`` and ``rmse``: output column → error in the unit of its name.

    Raises:
        FileNotFoundError: QM9 is not prepared.
        ValueError: ``limit`` is negative, or no molecule of the part could be evaluated.
    """
    if limit < 0:
        raise ValueError(f"evaluate: limit must be 0 or more, got {limit}")
    data = QM9(root)
    known = [name for name in predictor.properties if name in data.molecules.properties]
    rows: Tensor = getattr(data.split(), split)[: limit or None]
    batches = _given(data, rows, batch_size) if geometry == "dft" else _made(data, rows, batch_size)
    columns = [data.molecules.properties.index(name) for name in known]
    errors: list[Tensor] = []
    done = 0
    device = predictor.scale.device
    predictor.eval()
    for chunk, z, pos, batch, asked in batches:
        if len(chunk):
            with torch.inference_mode(), matmul_precision(precision):
                out = predictor(z.to(device), pos.to(device), batch.to(device))
            predicted = torch.stack([out[name] for name in known], dim=-1).cpu()
            errors.append(predicted - data.molecules.y[chunk][:, columns])
        done += asked
        if progress:
            progress(done, len(rows))
    if not errors:
        raise ValueError(f"evaluate: no molecule of split {split!r} has a geometry")
    error = torch.cat(errors)
    names = [PROPERTIES[name].column for name in known]
    return {
        "model": predictor.name,
        "data": "qm9",
        "split": split,
        "geometry": geometry,
        "n": len(error),
        "failed": len(rows) - len(error),
        "mae": dict(zip(names, error.abs().mean(0).tolist(), strict=True)),
        "rmse": dict(zip(names, error.square().mean(0).sqrt().tolist(), strict=True)),
    }


_Batch = tuple[Tensor, Tensor, Tensor, Tensor, int]


def _given(data: QM9, rows: Tensor, batch_size: int) -> Iterator[_Batch]:
    """Batches at the data set's own geometries: rows, z, pos, batch, molecules asked for."""
    order = rows.split(batch_size)
    for chunk, batch in zip(order, FlatLoader(data.molecules, rows, batch_size), strict=True):
        yield chunk, batch.z, batch.pos, batch.batch, len(chunk)


def _made(data: QM9, rows: Tensor, batch_size: int) -> Iterator[_Batch]:
    """Batches at conformers made from the SMILES, those that have one."""
    # Here, so that training, which evaluates at the end, needs no RDKit.
    from molgeo.chem.conformers import build
    from molgeo.chem.molecule import BadRow, SmilesRow

    for chunk in rows.split(batch_size):
        made = build(SmilesRow(data.smiles(row)) for row in chunk.tolist())
        found = [
            (row, m[0])
            for row, m in zip(chunk.tolist(), made, strict=True)
            if not isinstance(m, BadRow)
        ]
        if not found:
            yield chunk[:0], chunk[:0], torch.empty(0, 3), chunk[:0], len(chunk)
            continue
        yield (
            torch.tensor([row for row, _ in found], dtype=torch.long),
            torch.from_numpy(np.concatenate([m.z for _, m in found])),
            torch.from_numpy(np.concatenate([m.pos for _, m in found])).float(),
            torch.arange(len(found)).repeat_interleave(torch.tensor([m.n_atoms for _, m in found])),
            len(chunk),
        )
