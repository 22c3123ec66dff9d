"""Whether Triton's kernels can run."""

from __future__ import annotations

import importlib.util
import os

import torch

HAS_TRITON = importlib.util.find_spec("triton") is not None
"""Whether the kernels for a GPU can be compiled."""


def are_kernels_used(device: torch.device) -> bool:
    """On a GPU, but not in what PyTorch compiles or exports, which has kernels of its own."""
    return HAS_TRITON and device.type == "cuda" and not torch.compiler.is_compiling()


def can_run_kernels(device: torch.device) -> bool:
    """On a GPU, or in Triton's interpreter (``TRITON_INTERPRET=1``), which is for tests."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return HAS_TRITON and (device.type == "cuda" or interpreted)
