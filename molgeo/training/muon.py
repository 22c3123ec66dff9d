"""Muon for all matrices of a shape at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Coefficients = tuple[float, float, float]


def factor_dtype(device: torch.device) -> torch.dtype:
    """The precision of Newton–Schulz steps, a property of the machine: a resumed run has the same.

    bfloat16 suffices, as in torch's Muon. A processor without units for it is slower in it than in
    float32.

    Args:
        device: of the matrices.
    """
    has_units = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if device.type != "cpu" or has_units else torch.float32


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
            matrices = [p for p in group["params"] if p.grad is not None]
            if matrices:
                self._move(matrices, group)

    def _move(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in matrices if p.grad is not None]
        states = [self.state[p] for p in matrices]
        for state, gradient in zip(states, gradients, strict=True):
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
        momenta = [state["momentum_buffer"] for state in states]
        torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
        if group["nesterov"]:
            momenta = [*torch._foreach_lerp(gradients, momenta, group["momentum"])]
        if group["weight_decay"]:
            torch._foreach_mul_(matrices, 1.0 - group["lr"] * group["weight_decay"])
        of_shape: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
        for k, matrix in enumerate(matrices):
            wide_and_tall = of_shape.setdefault(tuple(sorted(matrix.shape)), ([], []))
            wide_and_tall[matrix.shape[0] > matrix.shape[1]].append(k)
        dtype = factor_dtype(matrices[0].device)
        for (_, longest), (wide, tall) in of_shape.items():
            # Tall matrices are transposed, so that the Gram matrices are the smaller ones.
            stacks = [torch.stack([momenta[k] for k in ks]) for ks in (wide, tall) if ks]
            if tall:
                stacks[-1] = stacks[-1].mT
            x = torch.cat(stacks).to(dtype)
            x = orthogonal_factors(x, group["ns_coefficients"], group["ns_steps"], group["eps"])
            x = x.to(matrices[0].dtype) * (group["lr"] * 0.2 * math.sqrt(longest))
            moves = [*x[: len(wide)], *x[len(wide) :].mT.contiguous()]
            torch._foreach_sub_([matrices[k] for k in (*wide, *tall)], moves)
