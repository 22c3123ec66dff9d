"""Muon for all matrices of a shape at once."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import torch
from torch import Tensor

ELEMENTS: Final = 1 << 18
"""Taken at a time on a CPU: 1 MB of float32, so that all of a step stays in a core's cache."""

Coefficients = tuple[float, float, float]


@functools.cache
def factor_dtype(device: torch.device) -> torch.dtype:
    """The precision of Newton–Schulz steps, a property of the machine: a resumed run has the same.

    bfloat16 suffices, as in torch's Muon. A device without units for it is slower in it than in
    float32.

    Args:
        device: of the matrices.
    """
    if device.type == "cuda":
        has_units = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        is_there = device.type == "cpu" and torch.backends.mkldnn.is_available()
        has_units = is_there and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_units else torch.float32


def orthogonal_factors(x: Tensor, coefficients: Coefficients, n_steps: int, eps: float) -> Tensor:
    """Of matrices ``X = U S Vᵀ`` about ``U Vᵀ``, by Newton–Schulz steps.

        X ← a X + (b X Xᵀ + c (X Xᵀ)²) X

    Args:
        x: (matrices, m, n) with m ≤ n, in the precision to compute in.
        coefficients: a, b, c.
        n_steps: how many.
        eps: least norm that a matrix is divided by.

    Returns:
        (matrices, m, n), whose singular values are within some 0.5 to 1.5.

    Source:
        Jordan et al. 2024, kellerjordan.github.io/posts/muon
    """
    a, b, c = coefficients
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(n_steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.Muon):
    """torch's Muon, whose states it reads and writes, but for the work: a batch for each shape.

        B ← μ B + (1 − μ) G,   W ← (1 − η λ) W − 0.2 η √max(m, n) · factor of (μ B + (1 − μ) G)

    Nothing in a step waits for a device. The learning rate may be a tensor there, which a schedule
    fills, so that a recorded step has the present one.

    Args:
        parameters: matrices.
        lr: η, a number or a tensor.
        weight_decay: λ.
    """

    def __init__(
        self, parameters: list[torch.nn.Parameter], lr: float | Tensor, weight_decay: float
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,  # type: ignore[arg-type]
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of the matrices that have a gradient."""
        for group in self.param_groups:
            of_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    of_shape.setdefault(tuple(sorted(p.shape)), []).append(p)
            for shape, matrices in of_shape.items():
                on_cpu = matrices[0].device.type == "cpu"
                n = max(1, ELEMENTS // math.prod(shape)) if on_cpu else len(matrices)
                for first in range(0, len(matrices), n):
                    self._move(matrices[first : first + n], group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of m rows and n columns, or n rows and m columns."""
        matrices = sorted(matrices, key=_is_tall)
        gradients = [p.grad for p in matrices if p.grad is not None]
        states = [self.state[p] for p in matrices]
        for state, gradient in zip(states, gradients, strict=True):
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
        momenta = [state["momentum_buffer"] for state in states]
        torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
        if group["nesterov"]:
            momenta = [*torch._foreach_lerp(gradients, momenta, group["momentum"])]
        n_wide = sum(not _is_tall(p) for p in matrices)
        x = _stacked(momenta, n_wide).to(factor_dtype(matrices[0].device))
        x = orthogonal_factors(x, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rate = group["lr"] * 0.2 * math.sqrt(max(matrices[0].shape))
        parts = (x[:n_wide], x[n_wide:].mT.contiguous())
        moves = [move for part in parts for move in part.to(matrices[0].dtype).mul_(rate)]
        if group["weight_decay"]:
            torch._foreach_mul_(matrices, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(matrices, moves)


def _stacked(matrices: list[Tensor], n_wide: int) -> Tensor:
    """Wide matrices, then tall ones transposed, so that the Gram matrices are the smaller ones."""
    wide, tall = matrices[:n_wide], matrices[n_wide:]
    if len(matrices) == 1:
        return wide[0][None] if wide else tall[0].mT[None]
    stacks = [torch.stack(some) for some in (wide, tall) if some]
    if tall:
        stacks[-1] = stacks[-1].mT
    return torch.cat(stacks) if len(stacks) > 1 else stacks[0]


def _is_tall(matrix: Tensor) -> bool:
    return matrix.shape[0] > matrix.shape[1]
