"""Fit the Gaussian process of `molgeo.predictor.kernel` to labels.

Amplitudes, lengths and noise are those that make the labels likeliest, beside a weak prior:

    −log p(y) = ½ yᵀ (K + σ²)⁻¹ y + ½ log |K + σ²| + n/2 log 2π,

divided by n, whose minimum L-BFGS finds on `LIKELY` molecules, or on a quarter of all if these are
more. With these the weights of all molecules follow exactly. Nothing is stopped early, and there is
nothing random.

Source:
    Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006, eq. 5.8.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from molgeo.fitting.descent import minimum
from molgeo.predictor.kernel import Known, alike, kernel_of

LIKELY: Final = 1000
MOST_APART: Final = 4
"""Amplitudes, lengths and noise are found by so many molecules, or by every fourth."""

STEPS: Final = 60
"""Of L-BFGS, at most."""

LEAST_NOISE: Final = 1e-3
"""Of σ², where the labels have a variance of about one: less would trust each digit of them."""

PRIOR: Final = 1e-4
"""Weight of the squares of the logarithms of all parameters in what is minimised."""

FIRST: Final = {"amplitude": 0.25, "length": 1.0, "noise": 0.1}

BOUNDS: Final = (-12.0, 8.0)
"""Of the logarithms: beyond, K could not be told from a matrix without an inverse."""

KEPT: Final = 512
"""Components of the moments, and rank of the root of the inverse, at most."""

LEFT_OUT: Final = 1e-4
"""Part of the moments' variance that components may leave out."""


class Process(NamedTuple):
    """What the fit found, as the buffers of `Kernel` have it for one property.

    Attributes:
        amplitudes: (5 or 6,).
        lengths: (3 or 4,).
        noise: of the labels, σ².
        alpha: (molecules,).
        root: (molecules, rank).
    """

    amplitudes: Tensor
    lengths: Tensor
    noise: Tensor
    alpha: Tensor
    root: Tensor


def main_components(moments: Tensor) -> Tensor:
    """Directions along which molecules differ, (moments, components).

    Args:
        moments: (molecules, moments) standardised.
    """
    centred = moments.double() - moments.double().mean(0)
    # Of the covariance, as there may be more molecules than moments; or of the products, if fewer.
    if len(moments) >= moments.shape[1]:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
    else:
        values, own = torch.linalg.eigh(centred @ centred.T)
        vectors = centred.T @ own / values.clamp(min=1e-12).sqrt()
    values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)
    left_out = 1 - values.cumsum(0) / values.sum().clamp(min=1e-12)
    n = min(int((left_out > LEFT_OUT).sum()) + 1, KEPT)
    found = vectors[:, :n]
    # The sign of an eigenvector is anybody's choice.
    signs = found.gather(0, found.abs().argmax(0, keepdim=True)).sign()
    return (found * torch.where(signs == 0, 1.0, signs)).float()


def fitted(known: Known, labels: Tensor) -> Process:
    """The Gaussian process of one property.

    Args:
        known: of the training molecules, all of which have a label.
        labels: (molecules,) standardised.
    """
    labels = labels.double()
    apart = min(MOST_APART, max(1, -(-len(labels) // LIKELY)))
    some = torch.arange(0, len(labels), apart)
    log_parameters = _likeliest(known.of(some), labels[some])
    amplitudes, lengths, noise = _parts(log_parameters.exp(), known.n_amplitudes)
    whole = kernel_of(alike(known, known), amplitudes, lengths)
    whole.diagonal().add_(noise)
    factor = torch.linalg.cholesky(whole)
    alpha = torch.cholesky_solve(labels.unsqueeze(-1), factor)[:, 0]
    return Process(amplitudes, lengths, noise, alpha, _root(whole))


def _parts(parameters: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first n are amplitudes; then come the lengths, and the noise."""
    return parameters[:n], parameters[n:-1], parameters[-1] + LEAST_NOISE


def _likeliest(known: Known, labels: Tensor) -> Tensor:
    """Logarithms of amplitudes, lengths and noise."""
    parts, n = list(alike(known, known)), known.n_amplitudes
    lengths = [FIRST["length"]] * known.n_lengths
    start = [FIRST["amplitude"]] * n + lengths + [FIRST["noise"]]

    def loss(parameters: Tensor) -> Tensor:
        amplitudes, lengths, noise = _parts(parameters.clamp(*BOUNDS).exp(), n)
        whole = kernel_of(parts, amplitudes, lengths) + noise * torch.eye(len(labels)).double()
        factor = torch.linalg.cholesky(whole)
        alpha = torch.cholesky_solve(labels.unsqueeze(-1), factor)[:, 0]
        unlikely = 0.5 * (labels @ alpha) + factor.diagonal().log().sum()
        return unlikely / len(labels) + PRIOR * parameters.square().sum()

    first = torch.tensor(start, dtype=torch.float64).log()
    return minimum(loss, first, STEPS, tolerance=1e-6).clamp(*BOUNDS)


def _root(whole: Tensor) -> Tensor:
    """R with R Rᵀ ≈ A⁻¹ of A = K + σ², along the directions in which A is largest.

    A new molecule's k lies along these. Q has them as columns, by two steps of subspace iteration;
    Q (Qᵀ A Q)⁻¹ Qᵀ is never larger than A⁻¹, and equal to it if Q is square.
    """
    n = min(len(whole), KEPT)
    start = torch.randn(len(whole), n, generator=torch.Generator().manual_seed(0))
    q = start.double()
    for _ in range(2):
        q, _ = torch.linalg.qr(whole @ q)
    factor = torch.linalg.cholesky(q.T @ whole @ q)
    return torch.linalg.solve_triangular(factor, q.T, upper=False).T.contiguous().float()
