"""The device to compute on."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.runtime.errors import SettingError


def choose(name: str = "auto") -> torch.device:
    """The named device, or the best there is.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …

    Returns:
        The device.

    Raises:
        ValueError: the name is no device, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device: expected auto, cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(f"device: {name!r} was asked for, but there is no CUDA device; try cpu")
    return device


def sent(host: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the host on a device; the host does not wait for a card.

    Args:
        host: on a CPU, if it is to be sent to a card without waiting.
        device: the same tensor is returned if it is there already.
    """
    if torch.device(device).type == "cuda" and host.device.type == "cpu":
        return host.pin_memory().to(device, non_blocking=True)
    return host.to(device)
