"""A Gaussian process as a head: a molecule's values from those of the training molecules like it.

A molecule is known by x, the moments of its atoms' features along their main components; by t,
RDKit's descriptors of its bonds; and by c, the logarithms of one plus the counts of substructures
(t and c if the model takes them). Two molecules are alike by

    k = a₁ M(|x − x'| / l₁) + a₂ x·x' + a₃ M(|t − t'| / l₂) + a₄ t·t' + a₅ M(|c − c'| / l₃),
    M(r) = (1 + √3 r) exp(−√3 r),

squares and products being means over the columns. With K the matrix of k among training molecules,
y their standardised labels and σ² the noise of these, a value and its variance are

    f = Σ_n α_n k_n,    α = (K + σ²)⁻¹ y,        s² = σ² + k(m, m) − kᵀ (K + σ²)⁻¹ k.

Of the inverse the variance takes its largest parts alone: (K + σ²)⁻¹ ≈ R Rᵀ of a low rank. What is
left out makes s larger. `molgeo.fitting.gaussian_process` fits all of it.

Source:
    Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006, eqs. 2.25,
    2.26 and 4.17 (Matérn 3/2).
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from molgeo.runtime.errors import SettingError

MOST_ROWS: Final = 10_000
"""Training molecules: K of more would not fit into memory."""

CUT: Final = 5.0
"""Widths from the mean of the training molecules at which a descriptor is cut."""

ROOT_3: Final = 3.0**0.5

N_AMPLITUDES: Final = 5
N_LENGTHS: Final = 3

Name = Annotated[str, Field(min_length=1, max_length=100)]


class KernelShape(BaseModel):
    """How large a `Kernel` is, and which descriptors it takes.

    Attributes:
        rows: training molecules.
        components: of the moments.
        rank: of the root of the inverse.
        descriptors: names; none for a model that knows molecules by their coordinates alone.
        n_counts: how many of these, the last ones, are counts of substructures.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 1
    components: Annotated[int, Field(ge=1, le=4096)] = 1
    rank: Annotated[int, Field(ge=1, le=4096)] = 1
    descriptors: Annotated[tuple[Name, ...], Field(max_length=3000)] = ()

    n_counts: Annotated[int, Field(ge=0, le=3000)] = 0

    @property
    def n_plain(self) -> int:
        """Descriptors that are no counts of substructures."""
        return max(0, len(self.descriptors) - self.n_counts)


class Known(NamedTuple):
    """What molecules are compared by.

    Attributes:
        x: (molecules, components).
        t: (molecules, descriptors), standardised; None without any.
        c: (molecules, substructures), standardised; None without any.
    """

    x: Tensor
    t: Tensor | None = None
    c: Tensor | None = None

    def of(self, rows: Tensor) -> Known:
        """Those of some molecules."""
        t, c = (None if one is None else one[rows] for one in (self.t, self.c))
        return Known(self.x[rows], t, c)


class Likeness(NamedTuple):
    """The parts of k without amplitudes and lengths, (molecules, others) each.

    Attributes:
        squares: mean squares of differences of x, t and c; None for what there is not.
        products: mean products of x and t, likewise.
    """

    squares: tuple[Tensor | None, ...]
    products: tuple[Tensor | None, ...]

    def kernel(self, amplitudes: Tensor, lengths: Tensor) -> Tensor:
        """The values of k for each pair.

        Args:
            amplitudes: (`N_AMPLITUDES`,) a₁ to a₅.
            lengths: (`N_LENGTHS`,) l₁ to l₃.
        """
        parts = []
        for k, square in enumerate(self.squares):
            if square is not None:
                # A root has no derivative at zero.
                r = ROOT_3 * square.clamp(min=1e-12).sqrt() / lengths[k]
                parts.append(amplitudes[2 * k] * (1 + r) * torch.exp(-r))
        for k, product in enumerate(self.products):
            if product is not None:
                parts.append(amplitudes[2 * k + 1] * product)
        total: Tensor = sum(parts[1:], parts[0])
        return total


def likeness(some: Known, others: Known) -> Likeness:
    """How alike molecules are, in float64."""
    squares: list[Tensor | None] = []
    products: list[Tensor | None] = []
    for a, b in zip(some, others, strict=True):
        if a is None or b is None:
            squares.append(None)
            products.append(None)
            continue
        a, b = a.double(), b.double()
        squares.append(torch.cdist(a, b).square() / a.shape[1])
        products.append(a @ b.T / a.shape[1])
    return Likeness(tuple(squares), tuple(products[:2]))


class Kernel(nn.Module):
    """Values of molecules from those of the training molecules, each property for itself.

    Args:
        n_moments: of a molecule.
        n_properties: that are predicted.
        shape: of all else.

    Attributes:
        projection: (moments, components) main components of the training molecules' moments.
        centre, factor: (descriptors,) means, and one over the deviations; 0 for constants.
        x: (rows, components) of training molecules.
        t: (rows, descriptors) of training molecules, standardised; those of substructures last.
        alpha: (properties, rows) float64; 0 for a row without a label.
        amplitudes: (properties, `N_AMPLITUDES`) float64.
        lengths: (properties, `N_LENGTHS`) float64.
        noise: (properties,) float64, σ².
        root: (properties, rows, rank), R.
    """

    projection: Tensor
    centre: Tensor
    factor: Tensor
    x: Tensor
    t: Tensor
    alpha: Tensor
    amplitudes: Tensor
    lengths: Tensor
    noise: Tensor
    root: Tensor

    def __init__(self, n_moments: int, n_properties: int, shape: KernelShape) -> None:
        super().__init__()
        self.shape = shape
        n, p, d = shape.rows, shape.components, len(shape.descriptors)
        self.register_buffer("projection", torch.zeros(n_moments, p))
        self.register_buffer("x", torch.zeros(n, p))
        if d:
            self.register_buffer("centre", torch.zeros(d))
            self.register_buffer("factor", torch.ones(d))
            self.register_buffer("t", torch.zeros(n, d))
        self.register_buffer("alpha", torch.zeros(n_properties, n, dtype=torch.float64))
        self.register_buffer(
            "amplitudes", torch.ones(n_properties, N_AMPLITUDES, dtype=torch.float64)
        )
        self.register_buffer("lengths", torch.ones(n_properties, N_LENGTHS, dtype=torch.float64))
        self.register_buffer("noise", torch.ones(n_properties, dtype=torch.float64))
        self.register_buffer("root", torch.zeros(n_properties, n, shape.rank))

    def forward(self, moments: Tensor, descriptors: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values and their standard deviations.

        Args:
            moments: (molecules, moments) standardised.
            descriptors: (molecules, descriptors) as they are; None if the model takes none.

        Returns:
            (molecules, properties) float64 each.

        Raises:
            SettingError: descriptors are missing, or not those of the model.
        """
        own = self.known(moments, descriptors)
        pairs = likeness(own, self.rows())
        selves = [None if one is None else (one.double() ** 2).mean(1) for one in own[:2]]
        values, deviations = [], []
        for k in range(len(self.alpha)):
            a = self.amplitudes[k].double()
            near = pairs.kernel(a, self.lengths[k].double())
            values.append(near @ self.alpha[k].double())
            there = [2 * j for j, one in enumerate(own) if one is not None]
            prior = a[there].sum() + sum(
                a[2 * j + 1] * one for j, one in enumerate(selves) if one is not None
            )
            known = (near @ self.root[k].double()).square().sum(1)
            deviations.append((prior - known).clamp(min=0.0).add(self.noise[k].double()).sqrt())
        return torch.stack(values, dim=-1), torch.stack(deviations, dim=-1)

    def known(self, moments: Tensor, descriptors: Tensor | None) -> Known:
        """What molecules are compared by; arguments and errors as of a call."""
        x, d = moments @ self.projection, len(self.shape.descriptors)
        if not d:
            return Known(x)
        if descriptors is None or descriptors.shape != (len(moments), d):
            got = "none" if descriptors is None else f"shape {tuple(descriptors.shape)}"
            raise SettingError(
                f"descriptors: expected shape ({len(moments)}, {d}), as the model takes "
                f"descriptors of bonds beside coordinates, got {got}"
            )
        t = (descriptors.to(self.t.dtype) - self.centre) * self.factor
        return self._parted(x, t.clamp(-CUT, CUT))

    def rows(self) -> Known:
        """What the training molecules are compared by."""
        return self._parted(self.x, self.t) if self.shape.descriptors else Known(self.x)

    def _parted(self, x: Tensor, t: Tensor) -> Known:
        n = self.shape.n_plain
        return Known(x, t[:, :n] if n else None, t[:, n:] if n < t.shape[1] else None)
