"""How weights are moved: optimisers, the learning rate by step, the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from molgeo.training.config import RunConfig
from molgeo.training.muon import Muon

Average = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]

MUON_LEAST_WIDTH = 16
"""Narrower matrices mix few functions, such as six Bessel functions: AdamW takes them."""


def optimiser_of(
    model: nn.Module, config: RunConfig, replayed: bool = False
) -> torch.optim.Optimizer:
    """The optimiser that a config asks for.

    Args:
        model: whose parameters it updates, on the device that they stay on.
        config: of the run: ``optimizer``, ``learning_rate``, ``weight_decay``, ``amsgrad``.
        replayed: its steps are recorded once and replayed. Then what changes between them, the
            learning rate and AdamW's number of the step, are tensors on the parameters' device.
    """
    adamw: dict[str, Any] = {
        "lr": config.learning_rate,
        "weight_decay": config.weight_decay,
        "amsgrad": config.amsgrad,
        "fused": "mixed" not in config.precision,  # Lightning clips no gradients of a fused one
    }
    if replayed:
        device = next(model.parameters()).device
        rate = torch.tensor(config.learning_rate, device=device)
        adamw |= {"lr": rate, "fused": True, "capturable": True}
    if config.optimizer == "adamw":
        return _keeping_its_form(torch.optim.AdamW(model.parameters(), **adamw))
    return MuonAndAdamW(model, adamw)


def _keeping_its_form(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser, which goes on from states of runs that are replayed and of others alike."""

    def in_its_form(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = []
        for own, loaded in zip(optimiser.param_groups, state["param_groups"], strict=True):
            form: dict[str, Any] = {
                name: own[name] for name in ("fused", "capturable") if name in own
            }
            rate = float(loaded["lr"])
            is_tensor = isinstance(own["lr"], Tensor)
            form["lr"] = torch.full_like(own["lr"], rate) if is_tensor else rate
            groups.append({**loaded, **form})
        return {**state, "param_groups": groups}

    optimiser.register_load_state_dict_pre_hook(in_its_form)
    return optimiser


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the matrices of hidden layers, torch's AdamW for all else, as one optimiser.

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
        matrices: dict[int, Any] = {
            id(module.weight): module.weight
            for module in model.modules()
            if isinstance(module, nn.Linear) and min(module.weight.shape) >= MUON_LEAST_WIDTH
        }
        others = [p for p in model.parameters() if id(p) not in matrices]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            muon = Muon(list(matrices.values()), adamw["lr"], adamw["weight_decay"])
            self._parts.append(_keeping_its_form(muon))
        if others:
            self._parts.append(_keeping_its_form(torch.optim.AdamW(others, **adamw)))
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


def learning_rate_factor(config: RunConfig, total_steps: int) -> Callable[[int], float]:
    """The factor of the peak learning rate at each step.

    Linear warm-up, then ``config.schedule``. The factor depends on the step and the config alone,
    so a resumed run may be given another end: with ``stable`` nothing changes until the decay
    begins.

    Args:
        config: of the run.
        total_steps: steps of the whole run.

    Returns:
        step → factor in [0, 1].
    """
    decay_start = round(total_steps * (1.0 - config.decay_fraction))

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.schedule == "exponential":
            return float(config.decay_rate ** ((step - config.warmup_steps) / config.decay_steps))
        if config.schedule == "cosine":
            span = max(1, total_steps - config.warmup_steps)
            done = min(1.0, (step - config.warmup_steps) / span)
            return 0.5 * (1.0 + math.cos(math.pi * done))
        if config.schedule == "stable" and step > decay_start:
            return max(0.0, (total_steps - step) / max(1, total_steps - decay_start))
        return 1.0

    return factor


def schedule_of(optimiser: torch.optim.Optimizer, config: RunConfig, total_steps: int) -> LambdaLR:
    """The schedule that sets an optimiser's learning rate, by `learning_rate_factor`.

    A rate that is a tensor is filled in place, and nothing waits for its device.

    Args:
        optimiser: of the run, as `optimiser_of` makes it.
        config: of the run.
        total_steps: steps of the whole run.
    """
    schedule = LambdaLR(optimiser, learning_rate_factor(config, total_steps))
    schedule.base_lrs = [config.learning_rate for _ in schedule.base_lrs]  # numbers, not tensors
    return schedule


def warmed_up_decay(decay: float, updates: int) -> float:
    """Decay that does not cling to the first weights: ``min(decay, (1 + t)/(10 + t))``.

    Args:
        decay: reached in the end.
        updates: t, weights that the average has taken in.

    Returns:
        The decay of the next update.
    """
    return min(decay, (1.0 + updates) / (10.0 + updates))


def exponential_average(decay: float) -> Average:
    """An update of torch's ``AveragedModel``: ``a ← d_t a + (1 − d_t) w``, all weights at once.

    It depends on the number of updates alone, which is saved with the averages, so that a resumed
    run averages as an uninterrupted one.

    Args:
        decay: reached in the end.

    Returns:
        ``update(averages, weights, updates)``, in place.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor) -> None:
        if updates.device.type == "cpu":
            d = warmed_up_decay(decay, int(updates))
            torch._foreach_lerp_(list(averages), list(weights), 1.0 - d)
        else:
            move_averages(averages, weights, updates, decay)

    return update


@torch.no_grad()
def move_averages(
    averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor, decay: float
) -> None:
    """`exponential_average`'s update with the decay computed on the device, which none waits for.

    Args:
        averages: a, changed in place; the weights themselves at the first update.
        weights: w.
        updates: t, () int64 on the same device; the caller counts.
        decay: reached in the end.
    """
    t = updates.to(averages[0].dtype)
    share = 1.0 - ((1.0 + t) / (10.0 + t)).clamp(max=decay)
    share = share.where(t > 0, torch.ones_like(share))  # the first weights are all there is
    steps = torch._foreach_sub(list(weights), list(averages))
    torch._foreach_mul_(steps, share)
    torch._foreach_add_(list(averages), steps)
