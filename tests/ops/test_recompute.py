"""Recomputed blocks give what kept ones give, for both derivatives, in less memory."""

from types import SimpleNamespace

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
    monkeypatch.setattr(recompute, "most_edges", lambda device: 0)
    for own, other in zip(run(model, z, pos), expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)
    assert kept_elements(model, z, pos) < 0.7 * before


def test_computed_again_in_the_precision_of_the_forward_pass(monkeypatch):
    monkeypatch.setattr(recompute, "most_edges", lambda device: 0)
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


@pytest.mark.parametrize(
    ("gigabytes", "edges"), [(8, 60_000), (24, 60_000), (80, 200_000), (141, 352_500)]
)
def test_the_more_memory_the_more_is_kept(monkeypatch, gigabytes, edges):
    """At least what is kept on a CPU; on an H100 a batch of 512 molecules of QM9 (150,000)."""
    memory, asked = SimpleNamespace(total_memory=gigabytes * 10**9), []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda d: asked.append(d) or memory)
    recompute.most_edges.cache_clear()
    try:
        for _ in range(2):
            assert recompute.most_edges(torch.device("cpu")) == 60_000
            assert recompute.most_edges(torch.device("cuda", 0)) == edges
    finally:
        recompute.most_edges.cache_clear()
    assert asked == [torch.device("cuda", 0)]


@pytest.mark.parametrize("more", [0, 1])
def test_the_bound(more):
    calls = []

    def square(x):
        calls.append(x)
        return x * x

    x = torch.ones(2, requires_grad=True)
    n_edges = recompute.most_edges(x.device) + more
    recompute.recompute_if_large(square, n_edges, x).sum().backward()
    assert len(calls) == 1 + more
