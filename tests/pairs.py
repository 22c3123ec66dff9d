"""Pairs of structures with the same bonds, to a model with a cutoff that holds bonds alone."""

import torch
from devices import placed
from torch import Tensor

BONDS = 1.7
"""Å, a cutoff that holds all bonds, 1.5 Å long, and nothing else."""

Atoms = tuple[Tensor, Tensor]


def difference(model: torch.nn.Module, structures: tuple[Atoms, Atoms]) -> float:
    """How far the outputs of two structures are apart, as a part of their size."""
    with torch.no_grad():
        a, b = (placed(model)(*each) for each in structures)
    return float((a - b).abs().max() / a.abs().max())


def waters() -> tuple[Atoms, Atoms]:
    """One atom with two neighbours, opened and closed."""
    return _bent(100.0), _bent(130.0)


def enantiomers() -> tuple[Atoms, Atoms]:
    """Carbon with four different neighbours at uneven angles, and its mirror image."""
    z, pos = _half()
    z, pos = torch.cat([z, torch.tensor([35])]), torch.cat([pos, pos[:1] * -1.0])
    return (z, pos), (z, pos * torch.tensor([1.0, -1.0, 1.0]))


def diastereomers() -> tuple[Atoms, Atoms]:
    """Two such centres in a row: of one hand, and of both."""
    z, pos = _half()
    turned = pos * torch.tensor([1.0, -1.0, -1.0])
    mirrored = pos * torch.tensor([1.0, 1.0, -1.0])
    both = torch.cat([z, z])
    return (both, torch.cat([pos, turned])), (both, torch.cat([pos, mirrored]))


def hydrogen_peroxides() -> tuple[Atoms, Atoms]:
    """Four atoms in a row, turned by 60° and by 110°."""
    return _turned(60.0), _turned(110.0)


def _bent(degrees: float) -> Atoms:
    angle = torch.deg2rad(torch.tensor(degrees))
    ends = torch.stack([torch.zeros(3), torch.eye(3)[0], _direction(angle)])
    return torch.tensor([8, 1, 1]), 1.5 * ends


def _half() -> Atoms:
    """A carbon atom at ¾ Å with three neighbours that point away from the origin."""
    azimuth = torch.deg2rad(torch.tensor([10.0, 118.0, 261.0]))
    height = torch.tensor([0.35, 0.3, 0.38])
    out = torch.stack([azimuth.cos(), azimuth.sin()], dim=-1)
    around = torch.cat([out * (1 - height.square()).sqrt().unsqueeze(-1), height[:, None]], dim=-1)
    centre = torch.tensor([[0.0, 0.0, 0.75]])
    return torch.tensor([6, 1, 9, 17]), torch.cat([centre, centre + 1.5 * around])


def _turned(degrees: float) -> Atoms:
    angle = torch.deg2rad(torch.tensor(degrees))
    start = torch.tensor([[0.0, 1.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.5]])
    end = start[2] + 1.5 * torch.stack([angle.sin(), angle.cos(), torch.tensor(0.0)])
    return torch.tensor([1, 8, 8, 1]), torch.cat([start, end.unsqueeze(0)])


def _direction(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin(), torch.tensor(0.0)])
