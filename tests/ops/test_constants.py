"""Constants are made once for each type and device, for callers of every mode."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from molgeo.ops.constants import constant

made = []


def ramp(n):
    made.append(n)
    return torch.arange(float(n), dtype=torch.float64)


def test_made_once_for_each_argument_type_and_device():
    made.clear()
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    first = constant(ramp, 3, like=single)
    assert first.tolist() == [0.0, 1.0, 2.0]
    assert first.dtype == single.dtype
    assert constant(ramp, 3, like=single) is first
    assert constant(ramp, 3, like=double).dtype == double.dtype
    assert len(constant(ramp, 4, like=single)) == 4
    assert constant(ramp, 3, like=single.to("meta")).device.type == "meta"
    assert made == [3, 3, 4, 3]


def test_what_inference_mode_asked_for_can_be_differentiated_through():
    like = torch.zeros(5)
    with torch.inference_mode():
        constant(ramp, 5, like=like)
    x = torch.ones(5, requires_grad=True)
    (x * constant(ramp, 5, like=like)).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_mode_that_looks_at_shapes_leaves_nothing_behind():
    with FakeTensorMode():
        constant(ramp, 6, like=torch.zeros(6))
    assert type(constant(ramp, 6, like=torch.zeros(6))) is torch.Tensor
