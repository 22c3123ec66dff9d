"""Only gradients that are used are said to be wanted."""

import pytest
import torch

from molgeo.ops import derivatives as module
from molgeo.ops.derivatives import wanted

pytestmark = pytest.mark.usefixtures("on_device")


@pytest.fixture
def run():
    seen = []

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, label, x, nothing, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, grad):
            seen.append(wanted(ctx))
            x, w = ctx.saved_tensors
            return None, grad * w, None, grad * x

    def product(x, w):
        return Product.apply("label", x, None, w).sum()

    return product, seen


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("leaf", [False, True])
def test_gradient_by_positions_alone(run, leaf, create_graph):
    product, seen = run
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    torch.autograd.grad(product(x if leaf else 2 * x, w), x, create_graph=create_graph)
    torch.autograd.grad(product(x if leaf else 2 * x, w), w, create_graph=create_graph)
    assert seen == [[False, True, False, False], [False, False, False, True]]


def test_everything_is_wanted_in_a_backward_pass(run):
    product, seen = run
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    product(2 * x, w).backward()
    torch.autograd.grad(product(2 * x, w), [x, w])
    product(torch.ones(2), w).backward()
    assert seen == [[False, True, False, True]] * 2 + [[False, False, False, True]]


def test_without_pytorchs_private_call_all_that_could_be_is_wanted(run, monkeypatch):
    monkeypatch.setattr(module, "_WILL_EXECUTE", None)
    product, seen = run
    x, w = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    torch.autograd.grad(product(2 * x, w), x)
    assert seen == [[False, True, False, True]]
