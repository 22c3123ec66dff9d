"""Gaussians of a network's features: how far an atom lies from the training atoms of its element.

The features x of the training atoms of each element e have a mean m_e and a covariance, of whose
eigenvectors u the leading K are kept, with eigenvalues λ_k. What the others leave of the variance
is ρ_e. For an atom i

    near_i  = √((1/K) Σ_k (u_k·(x_i − m_e))² / λ_k),
    apart_i = √(‖x_i − m_e − Σ_k u_k u_k·(x_i − m_e)‖² / ρ_e),

its Mahalanobis distance within the space that the training atoms span, and how far it leaves that
space. Training atoms have values around one.

Source:
    Lee, Lee, Lee, Shin, NeurIPS 2018, for distances to Gaussians of a network's features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Final, Self

import torch
from torch import Tensor

from molgeo.elements import SYMBOLS

KEPT: Final = 16
"""K, eigenvectors of each element."""


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of the training atoms' features.

    Attributes:
        elements: (E,) float32 atomic numbers, ascending.
        mean: (E, features) m_e.
        axes: (E, features, K) u_k.
        variance: (E, K) λ_k.
        rest: (E,) ρ_e.
    """

    elements: Tensor
    mean: Tensor
    axes: Tensor
    variance: Tensor
    rest: Tensor

    @classmethod
    def of(cls, tensors: dict[str, Tensor], features: int) -> Self:
        """A record from a file's tensors.

        Args:
            tensors: by name.
            features: width of the model's atom features.

        Raises:
            ValueError: one is missing, of another shape or type, or holds what no record holds.
        """
        what, tensors = cls.__name__.lower(), {**cls._absent(features), **tensors}
        names = {one.name for one in fields(cls)}
        if tensors.keys() != names:
            raise ValueError(f"{what}: expected {sorted(names)}, got {sorted(tensors)[:10]}")
        n, k = len(tensors["elements"]), tensors["axes"].shape[-1]
        shapes: dict[str, tuple[int, ...]] = {"elements": (n,), "mean": (n, features)}
        shapes |= {"axes": (n, features, k), "variance": (n, k), "rest": (n,)}
        for name, shape in (shapes | cls._shapes(tensors, features)).items():
            tensor = tensors[name]
            if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
                got = tuple(tensor.shape)
                raise ValueError(f"{what}.{name}: expected float32 of {shape}, got {got}")
            if not tensor.isfinite().all():
                raise ValueError(f"{what}.{name}: expected finite numbers")
        if not ((tensors["variance"] > 0).all() and (tensors["rest"] > 0).all()):
            raise ValueError(f"{what}.variance, rest: expected numbers above 0")
        if not set(tensors["elements"].tolist()) <= set(range(1, len(SYMBOLS))):
            raise ValueError(f"{what}.elements: expected atomic numbers")
        return cls(**tensors)

    @classmethod
    def _absent(cls, features: int) -> dict[str, Tensor]:
        """Tensors that a file may lack, being empty."""
        return {}

    @classmethod
    def _shapes(cls, tensors: dict[str, Tensor], features: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that are not those of the Gaussians."""
        return {}

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return replace(self, **{name: one.to(device) for name, one in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """By name, as a checkpoint holds them: no tensor is empty there."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor.numel()}

    def distances(self, features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """``near`` and ``apart`` of each atom; an element that is not known is at infinity.

        Args:
            features: (atoms, features).
            z: (atoms,) atomic numbers.
        """
        inside, left = self.squares(features, z)
        near = (inside * self._weights[z]).sum(-1).sqrt()
        apart = (left / self._rests[z]).sqrt()
        return near + self._unknown[z], apart + self._unknown[z]

    def squares(self, features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """(u_k·(x_i − m_e))² of the axes of all elements, and what an atom's own ones leave.

        All axes at once are one product of matrices, however many elements there are.
        """
        shifted = features.to(self.mean.dtype) - self._means[z]
        inside = (shifted @ self._all_axes).square()  # (atoms, E K)
        left = shifted.square().sum(-1) - (inside * self._own[z]).sum(-1)
        return inside, left.clamp(min=0.0)

    def by_number(self, values: Tensor, unknown: float = torch.inf) -> Tensor:
        """(E, …) values of the elements as rows of a table by atomic number.

        Args:
            values: of each of the elements.
            unknown: value of all others.
        """
        table = values.new_full((len(SYMBOLS), *values.shape[1:]), unknown)
        table[self.elements.long()] = values
        return table

    @cached_property
    def _means(self) -> Tensor:
        return self.by_number(self.mean, 0.0)

    @cached_property
    def _all_axes(self) -> Tensor:
        return self.axes.permute(1, 0, 2).flatten(1).contiguous()  # (features, E K)

    @cached_property
    def _own(self) -> Tensor:
        """By atomic number, which of all axes are the element's own."""
        n, k = self.variance.shape
        own = torch.eye(n, dtype=self.mean.dtype, device=self.mean.device)
        return self.by_number(own.repeat_interleave(k, dim=1), 0.0)

    @cached_property
    def _weights(self) -> Tensor:
        """By atomic number, 1 / (K λ_k) of its own axes."""
        return self._own / (self.variance.shape[1] * self.variance.flatten())

    @cached_property
    def _rests(self) -> Tensor:
        return self.by_number(self.rest, 1.0)

    @cached_property
    def _unknown(self) -> Tensor:
        return self.by_number(torch.zeros_like(self.rest))


def gaussians(features: Tensor, z: Tensor, kept: int = KEPT) -> dict[str, Tensor]:
    """The tensors of `Gaussians`, from training atoms.

    Args:
        features: (atoms, features).
        z: (atoms,) atomic numbers.
        kept: K; fewer if an element has not so many directions.
    """
    elements = z.unique()
    k = max(1, min(kept, features.shape[1] - 1))
    means, axes, variances, rests = [], [], [], []
    for number in elements:
        x = features[z == number].double()
        mean = x.mean(0)
        values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        # A floor, so that an element of few atoms does not call every other direction impossible.
        floor = 1e-6 * values.sum().clamp(min=1e-12)
        values, vectors = values.flip(0).clamp(min=float(floor)), vectors.flip(1)
        means.append(mean)
        axes.append(vectors[:, :k])
        variances.append(values[:k])
        rests.append(values[k:].sum())
    stacked = {"mean": means, "axes": axes, "variance": variances, "rest": rests}
    found = {name: torch.stack(parts).float().contiguous() for name, parts in stacked.items()}
    return {"elements": elements.float(), **found}
