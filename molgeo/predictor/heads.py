"""From atom features to properties, each by the physics of its kind.

| kind | property of a molecule |
|---|---|
| sum | Σ_i s_i |
| mean | (1/n) Σ_i s_i |
| orbital | Σ_i p_i s_i with p = softmax(q), over the atoms of the molecule |
| dipole | ‖Σ_i q_i r_i‖, with charges made neutral: q_i ← q_i − mean(q) |
| extent | Σ_i s_i + Σ_i q_i r_i² |
| moments | network of [Σ_i h_i ‖ mean(h) ‖ std(h) ‖ max(h)], each channel for itself |
| kernel | Gaussian process on the same moments (`molgeo.predictor.kernel`) |

where r_i is taken from the centre of mass, and s_i, q_i come from a small network of atom i's
features h_i, one for each property. The dipole is exactly zero if symmetry demands it.
An orbital lies on a part of the molecule, p_i of it on atom i, and does not change as a chain far
from it grows, as a mean does (weighted average, Chen et al., Chem. Sci. 14 (2023) 4913).
Their orbital-weighted average fits p to computed orbitals too; here it is learned from energies.
Moments and kernels assume no physics: they are for measured values that are no sum over atoms, such
as a solubility. A kernel is fitted, not trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molgeo.elements import MASSES
from molgeo.graph import Graph
from molgeo.models import MOST
from molgeo.ops.constants import constant
from molgeo.ops.dense import Dense
from molgeo.ops.segment import gather, molecule_max, molecule_sum
from molgeo.predictor.kernel import Kernel, KernelShape, usual
from molgeo.properties import Property, check_properties
from molgeo.runtime.errors import SettingError
from molgeo.runtime.precision import Exact

SQUARED_DISTANCE_UNIT = 10.0
"""Å²; r² of the extent head is divided by it, so that its charges are of the size of the others."""


OF_MOLECULES: Final = ("moments", "kernel")
"""Kinds of heads whose values belong to no atom."""

TWOFOLD: Final = ("extent", "orbital")
"""Kinds of heads that have two outputs per atom, s and q."""

MOST_WIDTHS: Final = 6.0
"""Widths from the mean of the training molecules at which a moment is cut."""

LEAST_VARIANCE: Final = 1e-6
"""Added to variances, so that their roots have a derivative if all atoms are alike."""


def centred(z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
    """Positions from each molecule's centre of mass, (atoms, 3) Å."""
    mass = constant(_masses, like=pos)[z].unsqueeze(-1)
    centre = molecule_sum(mass * pos, graph) / molecule_sum(mass, graph)
    return pos - centre.index_select(0, graph.batch)


def _masses() -> Tensor:
    return torch.tensor(MASSES, dtype=torch.float64)


class Heads(nn.Module):
    """One two-layer network per property, evaluated together.

    Those of moments have a first layer of their own, on a molecule's moments. Properties of the
    kind ``kernel`` have a Gaussian process in place of a network.

    Args:
        feature_dim: width of the backbone's atom features.
        properties: what is predicted.
        hidden: width of each property's hidden layer.
        kernel: shape of the Gaussian processes, if there are any.

    Raises:
        ValueError: the properties cannot be together, or the width is out of range.
    """

    def __init__(
        self,
        feature_dim: int,
        properties: Sequence[Property],
        hidden: int = 64,
        kernel: KernelShape | None = None,
    ) -> None:
        super().__init__()
        self.properties = check_properties(properties)
        if not 1 <= hidden <= MOST:
            raise SettingError(f"head_features: expected 1 to {MOST}, got {hidden}")
        self.kinds = [one.head for one in self.properties]
        self.feature_dim, self.hidden = feature_dim, hidden
        self.by_moments = [k for k, kind in enumerate(self.kinds) if kind == "moments"]
        self.by_kernel = [k for k, kind in enumerate(self.kinds) if kind == "kernel"]
        self.by_atoms = [k for k, kind in enumerate(self.kinds) if kind not in OF_MOLECULES]
        if self.by_atoms:
            self.in_layer = Dense(feature_dim, len(self.by_atoms) * hidden)
        if self.by_moments:
            self.moments_layer = Dense(4 * feature_dim, len(self.by_moments) * hidden)
        if self.by_moments or self.by_kernel:
            self.moments = Moments(feature_dim)
        if self.by_kernel:
            shape = kernel or KernelShape()
            self.kernel = Kernel(4 * feature_dim, len(self.by_kernel), shape)
        self.twofold = [k for k, kind in enumerate(self.kinds) if kind in TWOFOLD]
        n_outputs = len(self.properties) + len(self.twofold)
        self.out_weight = nn.Parameter(torch.empty(n_outputs, hidden))
        self.out_bias = nn.Parameter(torch.zeros(n_outputs))
        nn.init.normal_(self.out_weight, std=0.1 / hidden**0.5)

    def forward(self, features: Tensor, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Properties of every molecule, in each property's standardised unit.

        Args:
            features: (atoms, feature_dim).
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            graph: of these atoms.

        Returns:
            (molecules, properties) float32 or wider.
        """
        return self.judged(features, z, pos, graph)[0]

    def judged(
        self, features: Tensor, z: Tensor, pos: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        """As a call, with the standard deviations of the values that come from a kernel.

        Args:
            features: (atoms, feature_dim).
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            graph: of these atoms.

        Returns:
            The values, and (molecules, properties by kernel) float64 in their units; None if there
            are no kernels.
        """
        out = pool(*self.per_atom(features), self.kinds, z, pos, graph)
        if len(self.by_atoms) == len(self.kinds):
            return out, None
        columns, raw, deviations = [*out.unbind(-1)], self.moments.raw(features, graph), None
        if self.by_moments:
            for k, own in zip(self.by_moments, self.of_moments(raw).unbind(-1), strict=True):
                columns[k] = own
        if self.by_kernel:
            dipoles = self.kernel_dipoles(features, z, pos, graph)
            values, deviations = self.kernel(self.moments(raw), graph.descriptors, dipoles)
            for k, own in zip(self.by_kernel, values.to(out.dtype).unbind(-1), strict=True):
                columns[k] = own
        return torch.stack(columns, dim=-1), deviations

    def of_moments(self, raw: Tensor) -> Tensor:
        """Those properties of molecules that come from moments, in their order.

        Args:
            raw: (molecules, 4, feature_dim) of `Moments.raw`.

        Returns:
            (molecules, properties of moments).
        """
        h = self._hidden(self.moments_layer(self.moments(raw)), self.by_moments)
        return self._outputs(h, self.by_moments)

    def kernel_dipoles(
        self, features: Tensor, z: Tensor, pos: Tensor, graph: Graph
    ) -> Tensor | None:
        """Lengths of the dipoles by which kernels compare molecules; arguments as of a call.

        Returns:
            (molecules, properties by kernel) by the charges of `Kernel`; None if it has none.
        """
        if not self.kernel.shape.dipoles:
            return None
        charges = self.kernel.charges
        atoms = features.to(charges.dtype) @ charges.T
        return pool(atoms, None, ["dipole"] * atoms.shape[1], z, pos, graph)

    def per_atom(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is pooled: s_i, or q_i of a dipole, and the q_i of what is twofold.

        Args:
            features: (atoms, feature_dim).

        Returns:
            (atoms, properties) and (atoms, twofold), None without any; float32 or wider. What
            comes from moments or a kernel belongs to no atom: its column is zero.
        """
        n = len(self.properties)
        if not self.by_atoms:
            return features.new_zeros(len(features), n, dtype=_wide(features)), None
        h = self._hidden(self.in_layer(features), self.by_atoms)
        atoms = self._outputs(h, self.by_atoms)
        if len(self.by_atoms) < n:
            columns = dict(zip(self.by_atoms, atoms.unbind(-1), strict=True))
            zero = torch.zeros_like(atoms[:, 0])
            atoms = torch.stack([columns.get(k, zero) for k in range(n)], dim=-1)
        if not self.twofold:
            return atoms, None
        second = torch.stack([h[:, self.by_atoms.index(k)] for k in self.twofold], dim=1)
        return atoms, (second * self.out_weight[n:]).sum(-1) + self.out_bias[n:]

    def _hidden(self, x: Tensor, properties: list[int]) -> Tensor:
        """Hidden units of some properties, (rows, properties, hidden), from the first layer."""
        h = F.silu(x).view(-1, len(properties), self.hidden)
        return h.to(_wide(h))

    def _outputs(self, h: Tensor, properties: list[int]) -> Tensor:
        """Outputs of some properties, (rows, properties), from their hidden units."""
        n = len(self.properties)
        weight, bias = self.out_weight[:n], self.out_bias[:n]
        if len(properties) < n:  # a stack, as an index would have to be copied to the device
            weight = torch.stack([weight[k] for k in properties])
            bias = torch.stack([bias[k] for k in properties])
        return (h * weight).sum(-1) + bias


class Moments(Exact):
    """How each feature is distributed over the atoms of a molecule: sum, mean, deviation, maximum.

    They are standardised by the training molecules, and cut `MOST_WIDTHS` widths from their mean.
    What is the same for all of these tells nothing, and is left out.

    Args:
        feature_dim: width of the atom features.

    Attributes:
        centre: (4, feature_dim) means over the training molecules.
        factor: (4, feature_dim) one over the standard deviations; 0 for what is left out.
    """

    centre: Tensor
    factor: Tensor

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(4, feature_dim))
        self.register_buffer("factor", torch.ones(4, feature_dim))

    def forward(self, raw: Tensor) -> Tensor:
        """Standardised moments.

        Args:
            raw: (molecules, 4, feature_dim).

        Returns:
            (molecules, 4 feature_dim).
        """
        standardised = (raw - self.centre) * self.factor
        return standardised.clamp(-MOST_WIDTHS, MOST_WIDTHS).flatten(1).to(raw.dtype)

    @staticmethod
    def raw(features: Tensor, graph: Graph) -> Tensor:
        """The moments themselves, (molecules, 4, feature_dim)."""
        size = graph.atoms_per_molecule.to(features.dtype).unsqueeze(-1)
        total = molecule_sum(features, graph)
        mean = total / size
        square = molecule_sum((features - gather(mean, graph.batch)).square(), graph)
        deviation = (square / size + LEAST_VARIANCE).sqrt()
        return torch.stack([total, mean, deviation, molecule_max(features, graph)], dim=1)

    @torch.no_grad()
    def fit(self, raw: Tensor) -> None:
        """Take over what is usual.

        Args:
            raw: (molecules, 4, feature_dim) moments of training molecules.
        """
        centre, factor = usual(raw)
        self.centre.copy_(centre)
        self.factor.copy_(factor)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def pool(
    atoms: Tensor,
    second: Tensor | None,
    kinds: Sequence[str],
    z: Tensor,
    pos: Tensor,
    graph: Graph,
) -> Tensor:
    """Pool per-atom outputs to molecules, each column by its kind (see the module's table).

    Args:
        atoms: (atoms, properties) s_i, or q_i of a dipole.
        second: (atoms, twofold) q_i of what is twofold, in its order; None without any.
        kinds: kind of each property.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: of these atoms.

    Returns:
        (molecules, properties).
    """
    size = graph.atoms_per_molecule.to(atoms.dtype).unsqueeze(-1)
    total = molecule_sum(atoms, graph)
    r = centred(z, pos.to(atoms.dtype), graph) if {"dipole", "extent"} & set(kinds) else None
    others = iter(() if second is None else second.unbind(-1))
    columns = []
    for k, kind in enumerate(kinds):
        column = total[:, k]
        if kind == "mean" or kind in OF_MOLECULES:  # of the latter there is a baseline alone
            column = column / size[:, 0]
        elif kind == "orbital":
            column = molecule_sum(shares(next(others), graph) * atoms[:, k], graph)
        elif kind == "dipole":
            assert r is not None
            column = _norm(moment(atoms[:, k], r, graph))
        elif kind == "extent":
            assert r is not None
            r2 = r.square().sum(-1) / SQUARED_DISTANCE_UNIT
            column = column + molecule_sum(next(others) * r2, graph)
        columns.append(column)
    return torch.stack(columns, dim=-1)


def shares(q: Tensor, graph: Graph) -> Tensor:
    """What part of an orbital lies on each atom: softmax(q) over the atoms of each molecule.

    Args:
        q: (atoms,).
        graph: of these atoms.

    Returns:
        (atoms,), whose sum is 1 in each molecule.
    """
    # The largest is subtracted, so that no exponential is infinite; shares do not depend on it.
    most = molecule_max(q.detach().unsqueeze(-1), graph)
    own = (q - gather(most, graph.batch)[:, 0]).exp()
    return own / gather(molecule_sum(own, graph).unsqueeze(-1), graph.batch)[:, 0]


def moment(charges: Tensor, pos: Tensor, graph: Graph) -> Tensor:
    """First moment of charges that are made neutral: Σ_i (q_i − mean(q)) r_i.

    Args:
        charges: (atoms, …) q_i.
        pos: (atoms, 3) r_i from any origin, as neutral charges have none.
        graph: of these atoms.

    Returns:
        (molecules, …, 3), in the charges' unit times that of ``pos``.
    """
    others = [1] * (charges.dim() - 1)
    size = graph.atoms_per_molecule.to(charges.dtype).view(-1, *others)
    neutral = charges - (molecule_sum(charges, graph) / size).index_select(0, graph.batch)
    return molecule_sum(neutral.unsqueeze(-1) * pos.view(-1, *others, 3), graph)


def _norm(vector: Tensor) -> Tensor:
    """‖vector‖ over the last axis, zero below 1e-10, at which only rounding is left.

    There its derivatives are zero, and not the NaN that a norm's second derivative has at zero: it
    would reach the forces of every symmetric molecule in a batch, as all heads are one tensor.
    """
    square = vector.square().sum(-1)
    tiny = square < 1e-20
    return square.masked_fill(tiny, 1.0).sqrt().masked_fill(tiny, 0.0)
