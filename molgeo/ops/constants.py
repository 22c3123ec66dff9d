"""Constants of a computation, made once for each device and then kept.

To make a tensor of Python's numbers on a device is to copy them there, for which the host waits,
and which no recorded step can do.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

_KEPT: dict[Hashable, Tensor] = {}


def constant(make: Callable[..., Tensor], *arguments: Hashable, like: Tensor) -> Tensor:
    """What ``make(*arguments)`` makes on the CPU, in the type and on the device of a tensor.

    Args:
        make: a function of a module, so that it is known again, and a quick one.
        *arguments: of it.
        like: the tensor.
    """
    if torch.compiler.is_compiling():  # to what is compiled it is a constant anyway
        return make(*arguments).to(like)
    key = make, arguments, like.dtype, like.device
    kept = _KEPT.get(key)
    if kept is None:
        # Whatever the mode of the first caller is, the constant is for all of them.
        with torch.inference_mode(False), torch.device("cpu"):
            kept = make(*arguments).to(like.device, like.dtype)
        if type(kept) is Tensor:  # none of a mode that only looks at shapes
            _KEPT[key] = kept
    return kept
