"""The shapes that a config asks for, compared with a file's before any tensor is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from molgeo.predictor.checkpoint.file import MOST_TENSORS, fault
from molgeo.predictor.predictor import Predictor
from molgeo.runtime.plain_text import one_line

_MAKERS: Final = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.tensor}
    | {torch.eye, torch.arange, torch.linspace}
)
"""Functions of PyTorch that make the tensors of a model."""

MADE: Final = 100
"""Tensors that building a model may make beside two for each of the file's."""

STEPS: Final = 20_000
"""Operations that it may take: tables of basis functions, beside some ten for each tensor."""

Outline = dict[str, tuple[torch.dtype, tuple[int, ...]]]


def outline_of(config: dict[str, Any], n_tensors: int = MOST_TENSORS) -> Outline:
    """The tensors that a predictor would have: name → type and shape.

    It is built on PyTorch's meta device, whose tensors have a shape and no memory, and no further
    than a number of tensors allows.

    Args:
        config: arguments of `Predictor`.
        n_tensors: that it may have, about.

    Raises:
        ValueError: the config means nothing, or asks for more, or no checkpoint could hold it.
        TypeError: it has unknown fields.
    """
    with torch.device("meta"), _Bounded(n_tensors):
        return _outline(storable(Predictor(**config)))


def storable(predictor: Predictor) -> dict[str, Tensor]:
    """The tensors of a predictor, none of which a checkpoint would have to refuse.

    Raises:
        ValueError: a weight is not of float32, or another tensor is not of float32 or float64.
    """
    for name, weight in predictor.named_parameters():
        if weight.dtype != torch.float32:
            raise ValueError(f"{one_line(name, 60)}: expected float32 weights, got {weight.dtype}")
    tensors: dict[str, Tensor] = predictor.state_dict()
    if reason := fault(tensors):
        raise ValueError(
            f"{reason}; a checkpoint holds weights: register a buffer that the settings determine "
            "with persistent=False"
        )
    return tensors


def check_shapes(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Refuse a config whose model has other tensors than a file, with errors as `outline_of`."""
    wanted, found = outline_of(config, len(tensors)), _outline(tensors)
    if missing := wanted.keys() - found.keys():
        raise ValueError(f"the file has no {_some(missing)}")
    if unknown := found.keys() - wanted.keys():
        raise ValueError(f"the file has an unknown tensor {_some(unknown)}")
    for name, (dtype, shape) in wanted.items():
        if found[name] != (dtype, shape):
            got = "{} and {}".format(*found[name])
            raise ValueError(
                f"size mismatch: expected {name} of {dtype} and shape {shape}, got {got}"
            )


class _Bounded(TorchFunctionMode):
    """Ends the making of a model that has more tensors, or takes longer, than it may."""

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.n_tensors = n_tensors
        self.made = MADE + 2 * n_tensors
        self.steps = STEPS + 20 * n_tensors

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count one operation, and refuse to make tensors without elements."""
        result = function(*args, **(kwargs or {}))
        self.steps -= 1
        if function in _MAKERS:
            self.made -= 1
            if not result.numel():
                raise ValueError("the config asks for a layer without weights")
        if min(self.made, self.steps) < 0:
            raise ValueError(f"the config asks for more layers than {self.n_tensors} tensors hold")
        return result


def _outline(tensors: dict[str, Tensor]) -> Outline:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def _some(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    more = f" and {len(others)} more" if others else ""
    return f"{one_line(first, 80)}{more}"
