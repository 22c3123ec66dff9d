"""Recomputed blocks give what kept ones give, for both derivatives, in less memory."""

import pytest
import torch
from devices import placed

from molgeo.models import DimeNetPlusPlus
from molgeo.ops import recompute
from molgeo.runtime.precision import matmul_precision

pytestmark = pytest.mark.usefixtures("on_device")


def run(model, z, pos):
    pos = pos.clone().requires_grad_()
    energy = model(z, pos)
    (force,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
    gradients = torch.autograd.grad(
        energy.sum() + force.square().sum(), [*model.parameters()], allow_unused=True
    )
    return [energy, force, *(g for g in gradients if g is not None)]


def kept_elements(model, z, pos):
    """Elements of all tensors that a forward pass keeps for its derivatives."""
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(z, pos.clone().requires_grad_())
    return sum(kept)


def test_same_results_in_less_memory(monkeypatch):
    torch.manual_seed(0)
    fields = {"hidden": 16, "n_blocks": 2, "int_emb": 8, "out_emb": 12}
    model = placed(DimeNetPlusPlus(output_init="glorot_orthogonal", **fields)).double()
    z, pos = torch.full((9,), 6), 3 * torch.rand(9, 3, dtype=torch.float64)
    expected, before = run(model, z, pos), kept_elements(model, z, pos)
    monkeypatch.setattr(recompute, "MOST_EDGES", 0)
    for own, other in zip(run(model, z, pos), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)
    assert kept_elements(model, z, pos) < 0.7 * before


def test_computed_again_in_the_precision_of_the_forward_pass(monkeypatch):
    monkeypatch.setattr(recompute, "MOST_EDGES", 0)
    seen = []

    def square(x):
        seen.append(torch.get_float32_matmul_precision())
        return x * x

    x = torch.ones(2, requires_grad=True)
    with matmul_precision("medium"):
        y = recompute.recompute_if_large(square, 1, x)
    y.sum().backward()
    assert seen == ["medium", "medium"]
    assert torch.get_float32_matmul_precision() == "highest"
