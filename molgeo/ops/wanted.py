"""Which gradients a running backward pass will use."""

from __future__ import annotations

from typing import Any

import torch

_WILL_EXECUTE: Any = getattr(torch._C, "_will_engine_execute_node", None)


def wanted(ctx: Any) -> list[bool]:
    """For each input of a `torch.autograd.Function`, whether its gradient is of any use now.

    ``ctx.needs_input_grad`` says only whether an input *could* have a gradient. A force asks for
    the gradient by positions alone, and would pay for those of all weights. PyTorch's own
    operations ask the engine, as this does; the call is not public, hence guarded.

    Args:
        ctx: the context that ``backward`` is given.
    """
    needed = list(ctx.needs_input_grad)
    if _WILL_EXECUTE is None or torch.compiler.is_compiling():
        return needed
    # Inputs that are no tensors have no entry there, and those without a gradient have no node.
    nodes = (node for node, _ in ctx.next_functions if node is not None)
    for n, could_have in enumerate(ctx.needs_input_grad):
        if could_have:
            needed[n] = _executes(next(nodes))
    return needed


def _executes(node: Any) -> bool:
    try:
        return bool(_WILL_EXECUTE(node))
    except RuntimeError:  # a leaf that `torch.autograd.grad` was asked for
        return True
