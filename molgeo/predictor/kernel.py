"""A Gaussian process as a head: a molecule's values from those of the training molecules like it.

A molecule is known by x, the moments of its atoms' features along their main components; by t,
RDKit's descriptors of its bonds; by c, the logarithms of one plus the counts of substructures; by
g, the counts of groups that are charged in water; and by d, the length of a dipole (t, c, g and d
if the model takes them). Two molecules are alike by

    k = a₁ M(|x − x'| / l₁) + a₂ x·x' + a₃ M(|t − t'| / l₂) + a₄ t·t' + a₅ M(|c − c'| / l₃)
        + a₆ M(|g − g'| / l₄) + a₇ M(|d − d'| / l₅) + a₈ d d',
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

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from molgeo.runtime.errors import SettingError
from molgeo.runtime.precision import Exact

MOST_ROWS: Final = 10_000
"""Training molecules: K of more would not fit into memory."""

CUT: Final = 5.0
"""Widths from the mean of the training molecules at which a descriptor is cut."""

MOST_PAIRS: Final = 2**23
"""Of molecules and training molecules that are compared at once, 64 MB of each kind of number."""

LEAST_SPREAD: Final = 1e-5
"""Standard deviation below which a column is the same for all training molecules."""

ROOT_3: Final = 3.0**0.5

OF_DIPOLES: Final = 4
"""Place of d among x, t, c, g and d."""

LINEAR: Final = (0, 1, OF_DIPOLES)
"""Parts that also have a product: x, t and d."""

Name = Annotated[str, Field(min_length=1, max_length=100)]


class KernelShape(BaseModel):
    """How large a `Kernel` is, and which descriptors it takes.

    Attributes:
        rows: training molecules.
        components: of the moments.
        rank: of the root of the inverse.
        descriptors: names; none for a model that knows molecules by their coordinates alone.
        n_counts: how many of these are counts of substructures.
        n_groups: how many are counts of groups that are charged in water: the last ones, after
            those of substructures.
        dipoles: compare molecules by the length of a dipole too, for each property that of its own
            charges.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 1
    components: Annotated[int, Field(ge=1, le=4096)] = 1
    rank: Annotated[int, Field(ge=1, le=4096)] = 1
    descriptors: Annotated[tuple[Name, ...], Field(max_length=3000)] = ()
    n_counts: Annotated[int, Field(ge=0, le=3000)] = 0
    n_groups: Annotated[int, Field(ge=0, le=3000)] = 0
    dipoles: bool = False

    @property
    def parts(self) -> list[int]:
        """Numbers of descriptors that are no counts, of substructures, and of groups."""
        n_plain = len(self.descriptors) - self.n_counts - self.n_groups
        return [n_plain, self.n_counts, self.n_groups]

    @model_validator(mode="after")
    def _counts_are_some(self) -> Self:
        if self.parts[0] < 0:
            most, counts = len(self.descriptors), self.n_counts + self.n_groups
            raise ValueError(f"n_counts and n_groups: expected {most} at most, got {counts}")
        return self


class Known(NamedTuple):
    """What molecules are compared by.

    Attributes:
        x: (molecules, components).
        t: (molecules, descriptors), standardised; None without any.
        c: (molecules, substructures), standardised; None without any.
        g: (molecules, groups), standardised; None without any.
        d: (molecules, 1) lengths of one property's dipoles, standardised; None without any.
    """

    x: Tensor
    t: Tensor | None = None
    c: Tensor | None = None
    g: Tensor | None = None
    d: Tensor | None = None

    def of(self, rows: Tensor) -> Known:
        """Those of some molecules."""
        others = (None if one is None else one[rows] for one in self[1:])
        return Known(self.x[rows], *others)

    @property
    def n_lengths(self) -> int:
        """How many a kernel of these has: 5, 4 without dipoles, or 3 without groups either."""
        return 5 if self.d is not None else 3 + (self.g is not None)

    @property
    def n_amplitudes(self) -> int:
        """How many a kernel of these has: 8, 6 without dipoles, or 5 without groups either."""
        return amplitude_of(self.n_lengths)


class Part(NamedTuple):
    """What one of x, t, c, g and d adds to k, without amplitudes and lengths.

    Attributes:
        place: 0 to 4 of x, t, c, g, d.
        square: (molecules, others) mean squares of differences.
        product: (molecules, others) mean products; None of c and g.
    """

    place: int
    square: Tensor
    product: Tensor | None

    def kernel(self, amplitudes: Tensor, lengths: Tensor) -> Tensor:
        """What it adds to k for each pair.

        Args:
            amplitudes: a₁ to a₈, or fewer, as of `Known`.
            lengths: l₁ to l₅, or fewer.
        """
        # A root has no derivative at zero.
        r = ROOT_3 * self.square.clamp(min=1e-12).sqrt() / lengths[self.place]
        first = amplitude_of(self.place)
        found = amplitudes[first] * (1 + r) * torch.exp(-r)
        return found if self.product is None else found + amplitudes[first + 1] * self.product


def amplitude_of(place: int) -> int:
    """The number of a part's first amplitude: x, t and d have two, c and g one."""
    return place + sum(one < place for one in LINEAR)


def alike(some: Known, others: Known) -> Iterator[Part]:
    """How alike molecules are, in float64, part by part: each is a matrix of all pairs."""
    for place, (a, b) in enumerate(zip(some, others, strict=True)):
        if a is None or b is None:
            continue
        yield _part(place, a, b)


def _part(place: int, a: Tensor, b: Tensor) -> Part:
    """How alike molecules are by one of x, t, c, g and d."""
    a, b = a.double(), b.double()
    square = torch.cdist(a, b).square() / a.shape[1]
    return Part(place, square, a @ b.T / a.shape[1] if place in LINEAR else None)


def _prior(some: Known, amplitudes: Tensor) -> Tensor:
    """The values of k of molecules with themselves, (molecules,)."""
    total = some.x.new_zeros(some.x.shape[0], dtype=torch.float64)
    for place, one in enumerate(some):
        if one is None:
            continue
        first = amplitude_of(place)
        total = total + amplitudes[first]
        if place in LINEAR:
            total = total + amplitudes[first + 1] * one.double().square().mean(1)
    return total


def kernel_of(parts: Iterable[Part], amplitudes: Tensor, lengths: Tensor) -> Tensor:
    """The values of k for each pair, (molecules, others).

    Args:
        parts: of `alike`, of which one at a time is in memory if they are not kept.
        amplitudes: of `Part.kernel`.
        lengths: likewise.
    """
    total: Tensor | None = None
    for part in parts:
        own = part.kernel(amplitudes, lengths)
        total = own if total is None else total + own
    assert total is not None  # x is always there
    return total


def usual(columns: Tensor) -> tuple[Tensor, Tensor]:
    """What is usual, so that ``(x - centre) * factor`` is a number of widths.

    Args:
        columns: (molecules, …) of training molecules.

    Returns:
        Means, and one over the standard deviations, (…) float64; 0 for a column that is the same
        for all, as it tells nothing.
    """
    columns = columns.double()
    spread = columns.std(0) if len(columns) > 1 else torch.zeros_like(columns[0])
    return columns.mean(0), torch.where(spread > LEAST_SPREAD, 1.0 / spread, 0.0)


def _standard(columns: Tensor, centre: Tensor, factor: Tensor) -> Tensor:
    """Numbers of widths, by what is `usual`, cut."""
    return ((columns - centre) * factor).clamp(-CUT, CUT)


class Kernel(Exact):
    """Values of molecules from those of the training molecules, each property for itself.

    Args:
        n_moments: of a molecule.
        n_properties: that are predicted.
        shape: of all else.

    Attributes:
        projection: (moments, components) main components of the training molecules' moments.
        centre, factor: (descriptors,) means, and one over the deviations; 0 for constants.
        x: (rows, components) of training molecules.
        t: (rows, descriptors) of training molecules, standardised; substructures, then groups last.
        alpha: (properties, rows) float64; 0 for a row without a label.
        amplitudes: (properties, 5, 6 or 8) float64, as of `Known`.
        lengths: (properties, 3, 4 or 5) float64.
        noise: (properties,) float64, σ².
        root: (properties, rows, rank), R.
        charges: (properties, features) of an atom for each of its features.
        d: (properties, rows) lengths of dipoles of training molecules, standardised.
        usual_d: (properties, 2) mean of the lengths, and one over the deviation.
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
    charges: Tensor
    d: Tensor
    usual_d: Tensor

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
        if shape.dipoles:
            self.register_buffer("charges", torch.zeros(n_properties, n_moments // 4))
            self.register_buffer("d", torch.zeros(n_properties, n))
            self.register_buffer("usual_d", torch.ones(n_properties, 2))
        self.register_buffer("alpha", torch.zeros(n_properties, n, dtype=torch.float64))
        rows = self.rows_of(0)
        for name, m in (("amplitudes", rows.n_amplitudes), ("lengths", rows.n_lengths)):
            self.register_buffer(name, torch.ones(n_properties, m, dtype=torch.float64))
        self.register_buffer("noise", torch.ones(n_properties, dtype=torch.float64))
        self.register_buffer("root", torch.zeros(n_properties, n, shape.rank))

    def forward(
        self, moments: Tensor, descriptors: Tensor | None, dipoles: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Values and their standard deviations.

        Args:
            moments: (molecules, moments) standardised.
            descriptors: (molecules, descriptors) as they are; None if the model takes none.
            dipoles: (molecules, properties) lengths of those of `charges`; None likewise.

        Returns:
            (molecules, properties) float64 each.

        Raises:
            SettingError: descriptors are missing, or not those of the model.
        """
        own, rows = self.known(moments, descriptors), self.rows()
        d = None if dipoles is None else self.standard_dipoles(dipoles)
        if torch.compiler.is_compiling():  # a program holds for all numbers of molecules
            return self._of(own, rows, d)
        at_once = max(1, MOST_PAIRS // len(self.x))
        found = [
            self._of(own.of(chunk), rows, None if d is None else d[chunk])
            for chunk in torch.arange(len(moments), device=moments.device).split(at_once)
        ]
        values, deviations = (torch.cat(one) for one in zip(*found, strict=True))
        return values, deviations

    def _of(self, own: Known, rows: Known, d: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values and deviations of some molecules, from the training molecules."""
        shared = list(alike(own, rows))
        values, deviations = [], []
        for k in range(len(self.alpha)):
            a, parts, mine = self.amplitudes[k], shared, own
            if d is not None:
                length = d[:, k : k + 1]
                mine = own._replace(d=length)
                parts = [*shared, _part(OF_DIPOLES, length, self.d[k].unsqueeze(-1))]
            near = kernel_of(parts, a, self.lengths[k])
            values.append(near @ self.alpha[k])
            known = (near @ self.root[k].double()).square().sum(1)
            deviations.append((_prior(mine, a) - known).clamp(min=0.0).add(self.noise[k]).sqrt())
        return torch.stack(values, dim=-1), torch.stack(deviations, dim=-1)

    def standard_dipoles(self, lengths: Tensor) -> Tensor:
        """Standardised lengths of dipoles, (molecules, properties), from those in D."""
        return _standard(lengths, *self.usual_d.unbind(-1))

    @torch.no_grad()
    def take_dipoles(self, lengths: Tensor) -> None:
        """Take over the lengths of the training molecules' dipoles, (rows, properties)."""
        self.usual_d.copy_(torch.stack(usual(lengths), dim=-1))
        self.d.copy_(self.standard_dipoles(lengths).T)

    def known(self, moments: Tensor, descriptors: Tensor | None) -> Known:
        """What molecules are compared by; arguments and errors as of a call."""
        x, d = moments.double() @ self.projection.double(), len(self.shape.descriptors)
        if not d:
            return Known(x)
        if descriptors is None or descriptors.shape != (len(moments), d):
            got = "none" if descriptors is None else f"shape {tuple(descriptors.shape)}"
            raise SettingError(
                f"descriptors: expected shape ({len(moments)}, {d}), as the model takes "
                f"descriptors of bonds beside coordinates, got {got}; `molgeo predict`, and "
                "`molgeo evaluate` on files of molecules, compute them"
            )
        return self._parted(x, self._standardised(descriptors))

    @torch.no_grad()
    def take(self, moments: Tensor, descriptors: Tensor | None) -> None:
        """Take over what the training molecules are compared by; arguments as of a call."""
        self.x.copy_(moments.double() @ self.projection.double())
        if self.shape.descriptors:
            assert descriptors is not None
            centre, factor = usual(descriptors)
            self.centre.copy_(centre)
            self.factor.copy_(factor)
            self.t.copy_(self._standardised(descriptors))

    def rows(self) -> Known:
        """What the training molecules are compared by."""
        return self._parted(self.x, self.t) if self.shape.descriptors else Known(self.x)

    def rows_of(self, k: int) -> Known:
        """The same for one property, with its dipoles if there are any."""
        return self.rows()._replace(d=self.d[k].unsqueeze(-1) if self.shape.dipoles else None)

    def _standardised(self, descriptors: Tensor) -> Tensor:
        return _standard(descriptors.to(self.t.dtype), self.centre, self.factor)

    def _parted(self, x: Tensor, t: Tensor) -> Known:
        each = t.split(self.shape.parts, dim=1)
        return Known(x, *(one if one.shape[1] else None for one in each))
