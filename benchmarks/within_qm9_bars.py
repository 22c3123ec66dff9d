"""Bars that grow with a last-layer variance and with size, for `within_qm9.py`.

A model's value v is linear in the weights w of its heads' last layer: the gradient φ = ∂v/∂w is
what the hidden layer gives, pooled as the property's head pools. With A = ⟨φ φᵀ⟩ over training
molecules, ``s² = φᵀ A⁻¹ φ`` is the variance of v, up to a factor, if errors of the last layer are
those of a linear fit. Half of an interval is

    q · s^a · max(1, n / n_max)^b

with n heavy atoms, n_max of the largest molecule trained on, a and b of the property, and q the
conformal quantile of |error| / (s^a …) over molecules to calibrate on.

Source:
    Last-layer Laplace: Kristiadi, Hein, Hennig, ICML 2020, eq. 6; conformal prediction with
    normalised scores: Lei et al., JASA 113, 1094 (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from molgeo.data.molecules import MoleculeSet
from molgeo.ops.segment import molecule_sum
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import INTERVAL, ONE_SIGMA
from molgeo.predictor.heads import SQUARED_DISTANCE_UNIT, centred
from molgeo.properties import Property

FLAGGED = 0.02
"""Part of the molecules to calibrate on that are flagged."""


class Seen(NamedTuple):
    """What a model makes of some molecules.

    Attributes:
        properties: of the columns.
        error: (molecules, properties) float64, value minus label.
        signals: (molecules, properties, 2) float64, logarithms of s and of max(1, n / n_max).
    """

    properties: tuple[Property, ...]
    error: Tensor
    signals: Tensor

    def some(self, rows: Tensor) -> Seen:
        """The same of some molecules, by number or by bool."""
        return Seen(self.properties, self.error[rows], self.signals[rows])


def seen(
    predictor: Predictor,
    molecules: MoleculeSet,
    parts: tuple[Tensor, Tensor, Tensor],
    sizes: Sequence[Tensor],
) -> tuple[Seen, Seen]:
    """Errors and signals of molecules to calibrate on and of others.

    Args:
        predictor: the model.
        molecules: with its labels.
        parts: rows trained on, to calibrate on, and others.
        sizes: of each row of the parts, n / n_max.
    """
    trained, *found = [gradients(predictor, molecules, rows) for rows in parts]
    inverse = [_inverse_moment(trained[1][:, k]) for k in range(len(predictor.properties))]
    results = []
    for (error, phi), size in zip(found, sizes[1:], strict=True):
        variance = torch.stack(
            [((phi[:, k] @ a) * phi[:, k]).sum(-1) for k, a in enumerate(inverse)], dim=-1
        )
        grown = size.double().clamp(min=1.0).log()[:, None].expand_as(variance)
        signals = torch.stack([0.5 * variance.clamp(min=1e-12).log(), grown], dim=-1)
        results.append(Seen(predictor.properties, error, signals))
    return results[0], results[1]


def gradients(predictor: Predictor, molecules: MoleculeSet, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Errors of some molecules, and φ of each: (molecules, properties, weights), float64.

    The weights of a property are those of its outputs per atom, then its bias; of an extent, whose
    atoms have two outputs, those of the charges too. What a property lacks is zero.
    """
    errors, phis = [], []
    for part in rows.split(256):
        batch = molecules.batch(part)
        graph = batch.graph(predictor.cutoff)
        with torch.inference_mode():
            features = predictor.backbone.atom_features(batch.z, batch.pos, graph)
            out = predictor(batch.z, batch.pos, graph=graph)
            values = torch.stack([out[name] for name in predictor.property_names], dim=-1)
            heads = predictor.heads
            hidden = F.silu(heads.in_layer(features)).view(len(features), -1, heads.hidden)
            r = centred(batch.z, batch.pos, graph)
            n = graph.atoms_per_molecule.to(hidden.dtype)[:, None]
            columns = []
            for k, kind in enumerate(heads.kinds):
                h = torch.cat([hidden[:, k], torch.ones(len(features), 1)], dim=-1)
                own = torch.zeros(len(part), 2 * h.shape[1])
                total = molecule_sum(h, graph)
                own[:, : h.shape[1]] = total / n if kind == "mean" else total
                if kind == "extent":
                    r2 = r.square().sum(-1, keepdim=True) / SQUARED_DISTANCE_UNIT
                    own[:, h.shape[1] :] = molecule_sum(h * r2, graph)
                if kind == "dipole":  # of the norm: along the dipole itself
                    neutral = h - (total / n)[graph.batch]
                    each = (neutral[:, :, None] * r[:, None, :]).flatten(1)
                    moment = molecule_sum(each, graph).view(len(part), -1, 3)
                    weights = torch.cat([heads.out_weight[k], heads.out_bias[k : k + 1]])
                    along = F.normalize(torch.einsum("h,mhx->mx", weights, moment), dim=-1)
                    own[:, : h.shape[1]] = torch.einsum("mhx,mx->mh", moment, along)
                columns.append(own.double())
        errors.append(values - batch.y)
        phis.append(torch.stack(columns, dim=1))
    return torch.cat(errors).clone(), torch.cat(phis)


def _inverse_moment(phi: Tensor) -> Tensor:
    """(⟨φ φᵀ⟩ + ridge)⁻¹, with a ridge of 10⁻⁴ of the mean of its diagonal."""
    moment = phi.mT @ phi / len(phi)
    return torch.linalg.inv(moment + 1e-4 * moment.diagonal().mean() * torch.eye(len(moment)))


def exponents(inside: Seen, beyond: Seen) -> dict[str, Tensor]:
    """Both exponents of each property: the 90% quantile of log |error|, linear in the signals.

    Both groups count the same, however many molecules they have; a and b are not negative.

    Args:
        inside: molecules of the kind trained on.
        beyond: molecules of another kind, that the model has not seen.
    """
    found = {}
    weight = np.concatenate([np.full(len(x.error), 1.0 / len(x.error)) for x in (inside, beyond)])
    for k, one in enumerate(inside.properties):
        signals = torch.cat([inside.signals[:, k], beyond.signals[:, k]]).numpy()
        x = np.column_stack([np.ones(len(signals)), signals - np.median(signals, axis=0)])
        error = torch.cat([inside.error[:, k], beyond.error[:, k]]).abs().numpy()
        y = np.log(np.maximum(error, 1e-9))

        def loss(b: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> tuple[float, np.ndarray]:
            """The pinball loss, rounded at its corner."""
            r, h = y - x @ b, 0.05
            value = INTERVAL * r + h * np.logaddexp(0.0, -r / h)
            slope = INTERVAL - np.exp(-np.logaddexp(0.0, r / h))
            return float(weight @ value), -(x * (slope * weight)[:, None]).sum(0)

        fit = minimize(loss, np.zeros(3), jac=True, bounds=[(None, None), (0, 8), (0, 8)])
        found[one.name] = torch.from_numpy(fit.x[1:].copy())
    return found


class Bars:
    """Intervals for the shares `ONE_SIGMA` and `INTERVAL`.

    Args:
        calibrating: molecules that the model was not trained on.
        exponents: name of a property → a and b; zeros for one width for all.
    """

    def __init__(self, calibrating: Seen, exponents: dict[str, Tensor]) -> None:
        self.exponents = [exponents[one.name].double() for one in calibrating.properties]
        n = len(calibrating.error)
        self.scores = []
        for k in range(len(calibrating.properties)):
            scores = (calibrating.error[:, k].abs() / self._growth(calibrating, k)).sort().values
            places = [min(n, math.ceil((n + 1) * share)) - 1 for share in (ONE_SIGMA, INTERVAL)]
            self.scores.append(scores[places])
        self._middle = calibrating.signals[..., 0].median(0).values
        self._line = self._strangeness(calibrating).quantile(1.0 - FLAGGED)

    def widths(self, of: Seen, k: int) -> tuple[Tensor, Tensor]:
        """Half of both intervals of property k, (molecules,) each."""
        growth = self._growth(of, k)
        return self.scores[k][0] * growth, self.scores[k][1] * growth

    def flagged(self, of: Seen) -> Tensor:
        """Whether the variance is above that of nearly all to calibrate on, (molecules,)."""
        return self._strangeness(of) > self._line

    def _growth(self, of: Seen, k: int) -> Tensor:
        return (of.signals[:, k] @ self.exponents[k]).exp()

    def _strangeness(self, of: Seen) -> Tensor:
        """Mean over the properties of log s, each from its median."""
        return (of.signals[..., 0] - self._middle).mean(-1)
