"""Optimisers of a run: AdamW for everything, or Muon for the matrices of hidden layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from molgeo.training.config import RunConfig

MUON_LEAST_WIDTH = 16
"""Narrower matrices mix few functions, such as six Bessel functions: AdamW takes them."""


def optimiser_of(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """The optimiser that a config asks for.

    Args:
        model: whose parameters it updates.
        config: of the run: ``optimizer``, ``learning_rate``, ``weight_decay``, ``amsgrad``.
    """
    adamw: dict[str, Any] = {
        "lr": config.learning_rate,
        "weight_decay": config.weight_decay,
        "amsgrad": config.amsgrad,
        "fused": "mixed" not in config.precision,  # Lightning clips no gradients of a fused one
    }
    if config.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **adamw)
    return MuonAndAdamW(model, adamw)


class MuonAndAdamW(torch.optim.Optimizer):
    """torch's Muon for the matrices of hidden layers, its AdamW for all else, as one optimiser.

    Muon takes the momentum's orthogonal factor as the step of a matrix, so that all directions move
    alike, whatever their gradients' sizes. Here its steps are scaled to the root mean square of
    AdamW's, for which one learning rate serves both.

    Args:
        model: its `torch.nn.Linear` layers' weights with at least `MUON_LEAST_WIDTH` inputs and
            outputs are Muon's.
        adamw: of AdamW; Muon takes its ``lr`` and ``weight_decay``.

    Deviation:
        The first layer of all properties' heads is one matrix, and one for Muon too.

    Source:
        Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al., arXiv:2502.16982, for
        the scale.
    """

    def __init__(self, model: nn.Module, adamw: dict[str, Any]) -> None:
        matrices = {
            id(module.weight): module.weight
            for module in model.modules()
            if isinstance(module, nn.Linear) and min(module.weight.shape) >= MUON_LEAST_WIDTH
        }
        others = [p for p in model.parameters() if id(p) not in matrices]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            muon = {name: adamw[name] for name in ("lr", "weight_decay")}
            self._parts.append(
                torch.optim.Muon(list(matrices.values()), adjust_lr_fn="match_rms_adamw", **muon)
            )
        if others:
            self._parts.append(torch.optim.AdamW(others, **adamw))
        super().__init__([*matrices.values(), *others], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """Make the parts' groups this one's, so that schedules change and clipping sees them."""
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor | None:  # type: ignore[override]
        """One step of both.

        Args:
            closure: computes loss and gradients first.

        Returns:
            The closure's loss.
        """
        loss: Tensor | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Both parts' states."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from both parts' states."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()
