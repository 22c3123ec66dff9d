"""The mode that refuses what waits: it lets a step pass, and sees each thing that would wait."""

import numpy as np
import pytest
import torch
from no_waiting import WaitingError, counted_waits, no_waiting

X = torch.arange(6.0).view(2, 3)
INDEX = torch.tensor([0, 1])

WAITS = {
    "item": lambda: X[0, 0].item(),
    "float": lambda: float(X[0, 0]),
    "int": lambda: int(INDEX[1]),
    "if": lambda: 1 if (X > 0).all() else 2,
    "range": lambda: range(INDEX[1]),
    "a size": lambda: torch.zeros(INDEX[1]),
    "a place": lambda: X[INDEX[1] :],
    "in": lambda: 1 in INDEX,
    "text": lambda: f"{X[0, 0]:g}",
    "tolist": lambda: X.tolist(),
    "numpy": lambda: X.numpy(),
    "asarray": lambda: np.asarray(X),
    "cpu": lambda: X.cpu(),
    "equal": lambda: torch.equal(X, X),
    "allclose": lambda: torch.allclose(X, X),
    "a mask": lambda: X[X > 1],
    "into a mask": lambda: X.clone().__setitem__(X > 1, X[0, 0]),
    "masked_select": lambda: X.masked_select(X > 1),
    "nonzero": lambda: X.nonzero(),
    "where": lambda: torch.where(X > 1),
    "bincount": lambda: INDEX.bincount(),
    "unique": lambda: INDEX.unique(),
    "unique_consecutive": lambda: INDEX.unique_consecutive(),
    "histc": lambda: torch.histc(X),
    "repeat_interleave": lambda: torch.arange(2).repeat_interleave(INDEX),
    "a list": lambda: torch.tensor([1.0]),
    "new_tensor": lambda: X.new_tensor([1.0]),
    "an array": lambda: torch.from_numpy(np.zeros(1)),
    "as_tensor": lambda: torch.as_tensor(np.zeros(1)),
    "indices in a list": lambda: X[:, [0, 2]],
    "another device": lambda: X.to("meta"),
    "from another device": lambda: torch.empty(2, 3, device="meta").copy_(X),
    "indices of another device": lambda: torch.empty(2, 3, device="meta")[INDEX],
    "a constant of another device": lambda: torch.empty(2, 3, device="meta") @ torch.ones(3, 3),
}


@pytest.mark.parametrize("what", WAITS)
def test_what_waits_is_refused_and_counted(what):
    with pytest.raises(WaitingError, match="makes the host wait"), no_waiting():
        WAITS[what]()
    with counted_waits() as found:
        WAITS[what]()
    assert found


def test_a_backward_pass_is_seen():
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float(grad.sum())

    x = X.clone().requires_grad_()
    with pytest.raises(WaitingError), no_waiting():
        Reads.apply(x).sum().backward()


def test_what_does_not_wait_passes():
    weight = torch.ones(3, 3, requires_grad=True)
    with no_waiting(), counted_waits() as found:
        y = torch.nn.functional.silu(X @ weight).index_select(0, INDEX)[INDEX]
        y = y.masked_fill(y > 1, 0.0).where(~y.isnan(), y.detach()) + X[1] * 2.0
        y = y + torch.repeat_interleave(INDEX, INDEX, output_size=1).to(y.dtype).sum()
        y = torch.zeros(2, 3).index_add_(0, torch.arange(2), y) + torch.eye(3)[:2]
        (grad,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
        grad.square().sum().backward()
        weight.detach().copy_(weight.grad)
    assert found == []


def test_on_a_card_pytorch_says_what_waits(card):
    x = X.to(card)
    float(x.sum())
    with pytest.raises(RuntimeError, match="synchroniz"), no_waiting(card):
        float(x.sum())
    with counted_waits(card) as found:
        float(x.sum())
        x[x > 1]
        torch.tensor([1.0], device=card)
    assert len(found) == 3
    with no_waiting(card), counted_waits(card) as found:
        (x @ x.T).exp().sum()
    assert found == []
