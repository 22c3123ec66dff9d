"""The device to compute on."""

from __future__ import annotations

import torch

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
