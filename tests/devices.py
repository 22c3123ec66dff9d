"""What tests make is made where the run computes: on a CPU, or on a card (``--device cuda``)."""

import sys
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

TESTS = str(Path(__file__).parent)

MAKERS = {
    *(torch.arange, torch.as_tensor, torch.empty, torch.eye, torch.full, torch.linspace),
    *(torch.ones, torch.rand, torch.randint, torch.randn, torch.randperm, torch.tensor),
    *(torch.from_numpy, torch.logspace, torch.zeros),
}
"""Functions whose tensors are on the CPU unless they are given a device."""


class MadeThere(TorchFunctionMode):
    """Tensors that code of the tests makes are moved to a device.

    Those that molgeo makes stay where molgeo makes them, so that a device it forgets is an error.
    Random numbers are drawn on the CPU: a seed gives the same numbers on every device.
    """

    active = torch.device("cpu")

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        by_a_test = sys._getframe(1).f_code.co_filename.startswith(TESTS)
        if func not in MAKERS or not by_a_test or kwargs.get("device") is not None:
            return func(*args, **kwargs)
        needs_gradient = kwargs.pop("requires_grad", False)
        return func(*args, **kwargs).to(self.device).requires_grad_(needs_gradient)

    def __enter__(self):
        MadeThere.active = self.device
        return super().__enter__()

    def __exit__(self, *error):
        MadeThere.active = torch.device("cpu")
        return super().__exit__(*error)


@pytest.fixture
def on_device(device):
    """What the test makes is on the device; models have to be `placed`."""
    with MadeThere(device):
        yield device


def placed(module):
    """A model or a graph, moved to where the test that asks for it computes."""
    return module.to(MadeThere.active)


def gradcheck(function, inputs, **options):
    """PyTorch's, for sums whose last digits depend on the order in which a card adds."""
    return torch.autograd.gradcheck(function, inputs, nondet_tol=1e-10, **options)


def gradgradcheck(function, inputs, **options):
    """The same for second derivatives."""
    return torch.autograd.gradgradcheck(function, inputs, nondet_tol=1e-10, **options)
