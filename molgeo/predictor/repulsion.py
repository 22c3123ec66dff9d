"""The repulsion of screened nuclei at distances shorter than any bond, so that atoms never fuse.

    E = ½ Σ_ij (e²/4πε₀) Z_i Z_j / r · φ(r/a) · s(r/r₀),   a = 0.46850 Å / (Z_i^0.23 + Z_j^0.23)

with the universal screening function φ, a sum of four exponentials, and a switch s that is 1 up to
half of r₀ = 0.7 (R_i + R_j), of covalent radii R, and 0 from r₀ on, with two vanishing derivatives
at both ends. All bonds of molecules at rest are longer: the shortest in proportion, those of N₂ and
CO, have 0.77 and 0.79 of R_i + R_j. So what a network learns of equilibria is left as it is.

Source:
    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (1985), with the constants
    to the digits that LAMMPS's ``pair_style zbl`` has.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from molgeo.elements import COVALENT_RADII
from molgeo.graph import Graph
from molgeo.ops.segment import expand_pairs, scatter_sum
from molgeo.units import BOHR, HARTREE

SCREENING: Final = (0.18175, 0.50986, 0.28022, 0.02817), (3.19980, 0.94229, 0.40290, 0.20162)
"""Weights and decays of φ."""

LENGTH: Final = 0.46850
"""Å, of a."""

POWER: Final = 0.23

REACH: Final = 0.7
"""r₀, beyond which there is no repulsion, as a part of the sum of covalent radii."""


class Repulsion(nn.Module):
    """Each atom's half of the repulsion from its neighbours; nothing in it is learned."""

    table: Tensor
    screening: Tensor

    def __init__(self) -> None:
        super().__init__()
        z = torch.arange(len(COVALENT_RADII), dtype=torch.float64)
        table = torch.stack([z, z**POWER, torch.tensor(COVALENT_RADII, dtype=torch.float64)], -1)
        self.register_buffer("table", table, persistent=False)
        screening = torch.tensor(SCREENING, dtype=torch.float64)
        self.register_buffer("screening", screening, persistent=False)

    def forward(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Return (atoms,) eV, in the type of ``pos``; a molecule's sum is its repulsion."""
        r = graph.distances(pos)
        of_atoms = self.table.to(pos.dtype).index_select(0, z)
        ends = (end.index_select(0, graph.forward) for end in (graph.source, graph.target))
        a, b = (of_atoms.index_select(0, end) for end in ends)  # (pairs, 3)
        weights, decays = self.screening.to(pos.dtype)
        x = r * (a[:, 1] + b[:, 1]) / LENGTH
        screened = ((-x.unsqueeze(-1) * decays).exp() * weights).sum(-1)
        t = (r * (2.0 / REACH) / (a[:, 2] + b[:, 2]) - 1.0).clamp(0.0, 1.0)
        switch = 1.0 - t * t * t * (10.0 + t * (6.0 * t - 15.0))
        energy = HARTREE * BOHR * a[:, 0] * b[:, 0] / r * screened * switch
        return 0.5 * scatter_sum(expand_pairs(energy, graph), graph.source, graph.n_atoms)
