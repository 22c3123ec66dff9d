"""Refuse, or count, whatever makes the host wait for a device.

A card works on what it was given while the host goes on. A number that is read from it, a size that
depends on its values, or a copy of what the host has just made holds the host up until the card is
done, and cannot be recorded for a replay. On a card PyTorch says so itself. On a CPU a mode looks
at every operator, those of backward passes too:

    >>> with no_waiting(device):
    ...     loss = module.losses(batch)["train_loss"]
    ...     loss.backward()

What is made once and then kept (a graph's blocks, constants of a device) must have been made: let
the step run once before.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = frozenset(
    {
        # numbers that the host reads
        *("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose"),
        # sizes that depend on values
        *("nonzero", "nonzero_numpy", "masked_select", "bincount", "histc", "histogram"),
        *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
        # what the host has just made, from a list, an array or a number: to a card it is copied
        "lift_fresh",
        *("linalg_inv", "linalg_solve", "linalg_det", "linalg_eigh", "linalg_svd"),
    }
)
"""Operators for which the host waits, whatever their arguments are."""

INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
"""Operators that look for what is true in a mask."""

MASKS = (torch.bool, torch.uint8)

READING = frozenset({"tolist", "numpy", "cpu", "__array__", "__dlpack__"})
"""Methods that read a tensor on a CPU without an operator."""


class WaitingError(AssertionError):
    """Something made the host wait."""


@contextmanager
def no_waiting(device: torch.device | str = "cpu") -> Iterator[None]:
    """Let nothing wait for a device.

    Args:
        device: on which the tensors are.

    Raises:
        WaitingError: on a CPU, by the operator that would wait on a card.
        RuntimeError: on a card, by PyTorch.
    """
    if torch.device(device).type != "cuda":
        with _Methods(None), _Operators(None):
            yield
        return
    torch.cuda.synchronize()
    with _told("error"):
        yield


@contextmanager
def counted_waits(device: torch.device | str = "cpu") -> Iterator[list[str]]:
    """Count what waits for a device.

    Args:
        device: on which the tensors are.

    Yields:
        A list, to which a line is added for each.
    """
    found: list[str] = []
    if torch.device(device).type != "cuda":
        with _Methods(found), _Operators(found):
            yield found
        return
    with _told("warn"), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield found
    found += [str(one.message) for one in told if "synchroniz" in str(one.message)]


@contextmanager
def _told(how: str) -> Iterator[None]:
    """PyTorch tells what waits for a card, by a warning or an error."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first time it warns that the mode is a prototype
        torch.cuda.set_sync_debug_mode(how)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class _Operators(TorchDispatchMode):
    """Looks at every operator."""

    def __init__(self, found: list[str] | None) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if _waits(func, args, kwargs or {}):
            _tell(str(func), self.found)
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    """Looks at methods of tensors."""

    def __init__(self, found: list[str] | None) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in READING and args and isinstance(args[0], torch.Tensor):
            _tell(f"Tensor.{name}", self.found)
        return func(*args, **(kwargs or {}))


def _waits(func, args, kwargs) -> bool:
    name = func._schema.name.removeprefix("aten::")
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.dim()]
    devices = {x.device.type for x in given}
    if name == "_to_copy":
        devices.add(torch.device(kwargs.get("device") or args[0].device).type)
    return (
        name in WAITING
        or len(devices) > 1
        or (name in INDEXING and any(i.dtype in MASKS for i in args[1] if i is not None))
        or (name == "repeat_interleave" and kwargs.get("output_size") is None)
    )


def _tell(what: str, found: list[str] | None) -> None:
    if found is None:
        raise WaitingError(f"{what} makes the host wait for the device")
    found.append(what)
