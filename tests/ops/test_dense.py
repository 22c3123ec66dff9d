"""Dense layers by oneDNN: equal to PyTorch's own, whatever decides which is taken."""

import math
import time

import pytest
import torch
from devices import gradcheck, gradgradcheck, placed
from torch import Tensor
from torch.nn import functional as F

from molgeo.ops import dense
from molgeo.ops.activation import SHIFTED_SOFTPLUS, SILU
from molgeo.ops.dense import Dense, linear

on_any_device = pytest.mark.usefixtures("on_device")

MAKE = dense.onednn_is_faster  # as it is, before the fixture replaces it
MEASURE = MAKE.__wrapped__


@pytest.fixture(autouse=True)
def _however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """OneDNN's path, on a processor too where it is not the faster one."""
    monkeypatch.setattr(dense, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(dense, "SMALL", -1)
    monkeypatch.setattr(dense, "onednn_is_faster", lambda precision: precision != "high")


def arguments(n_in: int, n_out: int, rows: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((*rows, n_in), (n_out, n_in), (n_out,))
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    return x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def derivatives(function, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The value, the gradient of a nonlinear function of it, and a gradient of that."""
    value = function(*inputs)
    first = torch.autograd.grad(value.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    return [value, *first, *second]


@on_any_device
@pytest.mark.parametrize(("n_in", "n_out"), [(5, 9), (9, 5), (16, 16)])
@pytest.mark.parametrize("rows", [(7,), (4, 3), (1,)])
def test_equals_pytorch_to_the_second_derivative(
    n_in: int, n_out: int, rows: tuple[int, ...]
) -> None:
    inputs = arguments(n_in, n_out, rows)
    torch.testing.assert_close(
        derivatives(linear, inputs), derivatives(F.linear, inputs), rtol=1e-4, atol=1e-4
    )


def test_without_bias() -> None:
    x, weight, _ = arguments(6, 4, (5,))
    torch.testing.assert_close(
        derivatives(linear, (x, weight)),
        derivatives(F.linear, (x, weight)),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_pytorch(dtype: torch.dtype) -> None:
    x, weight, bias = (t.detach().to(dtype) for t in arguments(6, 4, (5,)))
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_autocast_is_obeyed() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(*arguments(6, 4, (5,))).dtype == torch.bfloat16


@pytest.fixture
def precision():
    """Sets the precision of matrix products, and sets it back."""
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision("highest")


def test_high_precision_is_left_to_pytorch(precision) -> None:
    x, weight, bias = (t.detach() for t in arguments(64, 64, (64,)))
    precision("high")
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_medium_precision_rounds_to_bfloat16_at_most(precision) -> None:
    """First and second derivatives too; results stay float32."""
    grad = torch.randn(64, 64)

    def results(function):
        x, weight, bias = (t.detach().requires_grad_() for t in arguments(64, 64, (64,)))
        y = function(x, weight, bias)
        first = torch.autograd.grad(y.square(), (x, weight, bias), grad, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), (x, weight))
        return [y, *first, *second]

    exact = results(F.linear)
    precision("medium")
    for got, expected in zip(results(linear), exact, strict=True):
        assert got.dtype == torch.float32
        error = (got - expected).norm() / expected.norm()
        assert error < 0.02
        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            assert error > 0


@on_any_device
def test_no_rows() -> None:
    x, weight, bias = arguments(6, 4, (0,))
    y = linear(x, weight, bias)
    assert y.shape == (0, 4)
    y.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


@on_any_device
def test_the_layer_is_a_linear_layer() -> None:
    torch.manual_seed(0)
    layer = placed(Dense(6, 4))
    x = torch.randn(5, 6)
    torch.testing.assert_close(layer(x), torch.nn.Linear.forward(layer, x))
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def softplus(x):
    return F.softplus(x) - math.log(2.0)


@on_any_device
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("own", "plain"), [(SILU, F.silu), (SHIFTED_SOFTPLUS, softplus)])
@pytest.mark.parametrize("rows", [2, 100])
def test_linear_activated_agrees_with_pytorch_to_the_third_derivative(
    bias, own, plain, rows, monkeypatch
):
    monkeypatch.setattr(dense, "ROWS", rows)  # pieces, or all at once
    torch.manual_seed(0)
    shapes = [(5, 3), (2, 3), (2,)][: 3 if bias else 2]
    inputs = [torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def run(function):
        found = [function(*inputs)]
        for _ in range(3):
            # By the features alone, as a force does, then by everything.
            first = torch.autograd.grad(found[-1].square().sum(), inputs[0], create_graph=True)
            found += [*first, *torch.autograd.grad(first[0].sum(), inputs, create_graph=True)]
        return found

    def activated(x, weight, bias=None):
        return dense.linear_activated(x, weight, bias, own)

    expected = run(lambda *x: plain(F.linear(*x)))
    for found, other in zip(run(activated), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-9, atol=1e-9)
    assert gradcheck(activated, inputs)
    assert gradgradcheck(activated, inputs)


@on_any_device
def test_linear_activated_by_onednn():
    torch.manual_seed(0)
    x = torch.randn(300, 128, requires_grad=True)
    weight, bias = torch.randn(128, 128, requires_grad=True), torch.randn(128, requires_grad=True)

    def run(function):
        y = function(x, weight, bias)
        (force,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return [y, force, *torch.autograd.grad(force.square().sum(), (x, weight, bias))]

    expected = run(lambda *inputs: torch.nn.functional.silu(torch.nn.functional.linear(*inputs)))
    for own, other in zip(run(dense.linear_activated), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@pytest.mark.parametrize(("seconds", "faster"), [(0.5, True), (1.05, True), (1.3, False)])
@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_the_faster_library_is_taken_and_a_tie_goes_to_onednn(
    monkeypatch, precision, seconds, faster
):
    monkeypatch.setattr(dense, "_least_times", lambda own, explicit: [1.0, seconds])
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert MEASURE(precision) is faster


def test_without_the_library_there_is_no_choice(monkeypatch):
    monkeypatch.setattr(dense, "_least_times", lambda own, explicit: [1.0, 0.1])
    assert not MEASURE("high")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert not MEASURE("medium")
    monkeypatch.setattr(dense, "_HAS_ONEDNN", False)
    assert not MEASURE("highest")


def test_products_are_timed_in_turn_and_the_choice_is_made_once():
    turns = []
    first, second = dense._least_times(
        lambda: turns.append("a"), lambda: (turns.append("b"), time.sleep(0.001)), repeats=3
    )
    assert turns == ["a", "b"] * 3
    assert 0 < first < second
    assert isinstance(MEASURE("highest"), bool)
    assert hasattr(MAKE, "cache_info")
