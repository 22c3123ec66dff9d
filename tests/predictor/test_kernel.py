"""Heads that are Gaussian processes, beside scikit-learn's, and models that have them."""

import functools
import operator

import numpy as np
import pytest
import torch
from compounds import compound
from neighbourhoods import arguments
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from molgeo.fitting.gaussian_process import fitted
from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity, load_of, padded, padded_atoms
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.familiarity import SIGNALS, familiarity
from molgeo.predictor.gaussians import gaussians
from molgeo.predictor.kernel import CUT, Kernel, KernelShape, usual
from molgeo.predictor.merging import merged
from molgeo.predictor.program import program_of
from molgeo.properties import Property
from molgeo.runtime.errors import SettingError

LOG_S, VOLUME = Property("logS", "", "kernel"), Property("volume", "A3", "sum")
NAMES = ("MolLogP", "TPSA")
FIELDS = {"n_features": 8, "n_filters": 6, "n_products": 4, "n_blocks": 1, "cutoff": 3.0}
COMPOUNDS = ("H2O", "CH4", "C2H4", "CO2", "C6H6", "N2")


def drawn(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def filled(n=20, p=5, n_groups=0, dipoles=False):
    """A kernel with all of its training molecules, and their labels."""
    x, t = drawn(n, p, 0), drawn(n, 3 + n_groups, 1)
    names = tuple("abcdef"[: 3 + n_groups])
    shape = KernelShape(
        rows=n,
        components=p,
        rank=n,
        descriptors=names,
        n_counts=1,
        n_groups=n_groups,
        dipoles=dipoles,
    )
    kernel = Kernel(p, 1, shape)
    kernel.projection.copy_(torch.eye(p))
    kernel.x.copy_(x)
    kernel.t.copy_(t)
    y = x[:, 0].sin() + 0.5 * t[:, 1] + t[:, 3:].sum(1).tanh() + 0.1 * drawn(n, 1, 2)[:, 0]
    if dipoles:
        kernel.take_dipoles(2.0 + drawn(n, 1, 5).abs())
        y += kernel.d[0].sin()
    found = fitted(kernel.rows_of(0), y)
    for name in ("amplitudes", "lengths", "alpha", "root"):
        getattr(kernel, name)[0] = getattr(found, name)
    kernel.noise[0] = found.noise
    return kernel, y


class Of(kernels.Kernel):
    """A kernel of scikit-learn's on some of the columns."""

    def __init__(self, kernel, columns):
        self.kernel, self.columns = kernel, columns

    def __call__(self, X, Y=None, eval_gradient=False):
        return self.kernel(X[:, self.columns], None if Y is None else Y[:, self.columns])

    def diag(self, X):
        return self.kernel.diag(X[:, self.columns])

    def is_stationary(self):
        return False


@pytest.mark.parametrize(("n_groups", "dipoles"), [(0, False), (2, False), (2, True), (0, True)])
def test_values_and_deviations_are_those_of_another_library(n_groups, dipoles):
    kernel, y = filled(n_groups=n_groups, dipoles=dipoles)
    a, lengths = kernel.amplitudes[0].tolist(), kernel.lengths[0].tolist()
    parts = [Of(a[4] * kernels.Matern(lengths[2], nu=1.5), slice(7, 8))]
    if n_groups:
        parts.append(Of(a[5] * kernels.Matern(lengths[3] * 2**0.5, nu=1.5), slice(8, 10)))
    for place, (n, columns) in enumerate(((5, slice(0, 5)), (2, slice(5, 7)))):
        smooth = a[2 * place] * kernels.Matern(lengths[place] * n**0.5, nu=1.5)
        linear = a[2 * place + 1] / n * kernels.DotProduct(sigma_0=0.0)
        parts += [Of(smooth, columns), Of(linear, columns)]
    x, t, d = drawn(7, 5, 3), drawn(7, 3 + n_groups, 4), 2.0 + drawn(7, 1, 6).abs()
    rows, new = [kernel.x, kernel.t], [x, t]
    if dipoles:
        own = slice(8 + n_groups, 9 + n_groups)
        parts.append(Of(a[6] * kernels.Matern(lengths[4], nu=1.5), own))
        parts.append(Of(a[7] * kernels.DotProduct(sigma_0=0.0), own))
        mean, factor = kernel.usual_d[0]
        rows.append(kernel.d.T)
        new.append((d - mean) * factor)
    whole = functools.reduce(operator.add, parts)
    other = GaussianProcessRegressor(whole, alpha=float(kernel.noise), optimizer=None)
    other.fit(torch.cat(rows, 1).double().numpy(), y.double().numpy())
    value, deviation = kernel(x, t, d if dipoles else None)
    expected, std = other.predict(torch.cat(new, 1).double().numpy(), return_std=True)
    np.testing.assert_allclose(value[:, 0], expected, rtol=1e-6, atol=1e-6)
    noisy = np.sqrt(std**2 + float(kernel.noise))  # of a new label
    np.testing.assert_allclose(deviation[:, 0], noisy, rtol=1e-4)


def test_descriptors_are_standardised_cut_and_needed():
    kernel, _ = filled()
    kernel.centre.copy_(torch.tensor([1.0, 0.0, 0.0]))
    kernel.factor.copy_(torch.tensor([0.5, 1.0, 0.0]))
    known = kernel.known(drawn(1, 5, 0), torch.tensor([[2.0, 1e9, 7.0]]))
    assert known.t.tolist() == [[0.5, CUT]]
    assert known.c.tolist() == [[0.0]]
    with pytest.raises(SettingError, match=r"descriptors: expected shape \(2, 3\).*got none"):
        kernel(drawn(2, 5, 0), None)
    with pytest.raises(SettingError, match=r"got shape \(2, 2\)"):
        kernel(drawn(2, 5, 0), drawn(2, 2, 0))


def test_columns_come_to_widths_and_constants_to_nothing():
    columns = torch.tensor([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]])
    centre, factor = usual(columns)
    assert centre.tolist() == [3.0, 5.0]
    assert factor.tolist() == [0.5, 0.0]


def test_one_molecule_says_what_is_usual_and_no_width():
    centre, factor = usual(torch.tensor([[[1.0, 2.0]]]))
    assert centre.tolist() == [[1.0, 2.0]]
    assert factor.tolist() == [[0.0, 0.0]]


def test_training_molecules_are_taken_over_as_they_will_be_known():
    shape = KernelShape(rows=6, components=4, descriptors=("a", "b", "c"), n_counts=1, n_groups=1)
    kernel = Kernel(4, 1, shape)
    kernel.projection.copy_(torch.eye(4))
    moments, t = drawn(6, 4, 0), 3.0 + 2.0 * drawn(6, 3, 1)
    kernel.take(moments, t)
    taken, known = kernel.rows(), kernel.known(moments, t)
    assert taken.d is known.d is None
    for own, other in zip(taken[:-1], known[:-1], strict=True):
        torch.testing.assert_close(own.double(), other.double())
    torch.testing.assert_close(kernel.t.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernel.t.std(0), torch.ones(3))


def molecules(names=COMPOUNDS):
    parts = [compound(name) for name in names]
    z, pos = (torch.cat(part) for part in zip(*parts, strict=True))
    batch = torch.repeat_interleave(
        torch.arange(len(parts)), torch.tensor([len(p[0]) for p in parts])
    )
    return z, pos.float(), batch


def predictor(names=NAMES, dipoles=False):
    """A model with a kernel whose training molecules are `COMPOUNDS`."""
    torch.manual_seed(0)
    shape = KernelShape(rows=6, components=4, rank=6, descriptors=names, dipoles=dipoles)
    made = Predictor("spectrum_net", FIELDS, [VOLUME, LOG_S], kernel=shape).eval()
    z, pos, batch = molecules()
    heads, graph = made.heads, radius_graph(pos, made.cutoff, batch)
    with torch.no_grad():
        features = made.backbone.atom_features(z, pos, graph)
        raw = heads.moments.raw(features, graph)
        heads.moments.fit(raw)
        kernel = heads.kernel
        kernel.projection.copy_(drawn(len(kernel.projection), 4, 0) / 10)
        kernel.take(heads.moments(raw), drawn(6, 2, 1) if names else None)
        if dipoles:
            kernel.charges.copy_(drawn(1, kernel.charges.shape[1], 3))
            kernel.take_dipoles(heads.kernel_dipoles(features, z, pos, graph))
        found = fitted(kernel.rows_of(0), drawn(6, 1, 2)[:, 0])
        for name in ("amplitudes", "lengths", "alpha", "root"):
            getattr(kernel, name)[0] = getattr(found, name)
        kernel.noise[0] = found.noise
    made.baseline[1, 0], made.scale[1] = 3.0, 2.0
    made.domain = Domain((1, 6, 7, 8), max_atoms=12, min_distance=0.7)
    features_of_training = {**gaussians(features, z), "known": torch.zeros(0, features.shape[1])}
    made.familiarity = familiarity(features_of_training, torch.rand(9, len(SIGNALS)))
    return made


@pytest.mark.parametrize("dipoles", [False, True])
def test_a_training_molecule_has_its_label(dipoles):
    made, (z, pos, batch) = predictor(dipoles=dipoles), molecules()
    value = made(z, pos, batch, descriptors=drawn(6, 2, 1))["logS"]
    expected = 3.0 + 2.0 * drawn(6, 1, 2)[:, 0].double()
    noise = float(made.heads.kernel.noise)
    rest = noise * made.heads.kernel.alpha[0]  # y - f = σ² α
    torch.testing.assert_close(value, expected - 2.0 * rest, rtol=0, atol=1e-4)


def test_lengths_of_dipoles_do_not_turn_and_are_zero_by_symmetry():
    made, (z, pos, batch) = predictor(dipoles=True), molecules()

    def lengths(where):
        graph = radius_graph(where, made.cutoff, batch)
        return made.heads.kernel_dipoles(
            made.backbone.atom_features(z, where, graph), z, where, graph
        )

    own = lengths(pos)
    turn, _ = torch.linalg.qr(drawn(3, 3, 8))
    torch.testing.assert_close(lengths(pos @ turn.T + 1.0), own, rtol=1e-4, atol=1e-4)
    is_polar = torch.tensor([name == "H2O" for name in COMPOUNDS])
    assert own[is_polar].min() > 1e-3
    assert own[~is_polar].max() < 1e-4


@pytest.mark.parametrize("dipoles", [False, True])
def test_batches_and_single_molecules_agree(dipoles):
    made, (z, pos, batch), t = predictor(dipoles=dipoles), molecules(), drawn(6, 2, 1)
    whole = made(z, pos, batch, descriptors=t)
    for m in range(6):
        own = batch == m
        alone = made(z[own], pos[own], descriptors=t[m : m + 1])
        for name in ("logS", "volume"):
            torch.testing.assert_close(alone[name], whole[name][m : m + 1], rtol=1e-5, atol=1e-5)


def test_deviations_are_signals_in_those_of_the_labels():
    made, (z, pos, batch) = predictor(), molecules()
    found = made.judged(z, pos, batch, descriptors=drawn(6, 2, 5))
    assert found.signals.shape == (6, len(SIGNALS) + 1)
    graph = radius_graph(pos, made.cutoff, batch).with_known(descriptors=drawn(6, 2, 5))
    features = made.backbone.atom_features(z, pos, graph)
    expected = made.heads.judged(features, z, pos, graph)[1][:, 0].float()
    torch.testing.assert_close(found.signals[:, -2], expected, rtol=1e-4, atol=1e-5)
    heavy = torch.tensor([1, 1, 2, 3, 6, 2])
    assert torch.equal(found.signals[:, -1].long(), heavy)


@torch.no_grad()
@pytest.mark.parametrize("dipoles", [False, True])
@pytest.mark.parametrize("names", [NAMES, ()])
def test_a_file_gives_the_same(names, dipoles, tmp_path):
    made = predictor(names, dipoles)
    save_checkpoint(made, tmp_path / "a.safetensors", {"data": "own"})
    again = load(tmp_path / "a.safetensors")
    assert again.descriptors == names
    z, pos, batch = molecules()
    t = drawn(6, 2, 6) if names else None
    expected = made(z, pos, batch, descriptors=t)
    for name, value in again(z, pos, batch, descriptors=t).items():
        assert torch.equal(value, expected[name])
    if names:
        with pytest.raises(SettingError, match="takes descriptors of bonds by RDKit"):
            program_of(made)


@torch.no_grad()
@pytest.mark.parametrize("dipoles", [False, True])
def test_a_program_without_descriptors_gives_the_same(dipoles):
    made, (z, pos, batch) = predictor((), dipoles), molecules()
    graph = radius_graph(pos.double(), made.cutoff, batch)
    expected = made(z, pos, batch)
    program = program_of(made).module()
    n_atoms = graph.atoms_per_molecule
    for key, value in program(*arguments(z, pos.double(), n_atoms, graph)).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-4)


def test_padding_counts_nowhere():
    made, (z, pos, batch), t = predictor(dipoles=True), molecules(), drawn(6, 2, 1)
    graph = radius_graph(pos, made.cutoff, batch).with_known(descriptors=t)
    capacity = Capacity.around(load_of(graph.degree), spare=0.5, n_spare_atoms=4)
    more = padded(graph, capacity)
    assert torch.equal(more.descriptors[:6], t)
    own = made(z, pos, graph=graph)["logS"]
    found = made(*padded_atoms(z, pos, capacity), graph=more)["logS"]
    torch.testing.assert_close(found[:6], own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("change", [torch.nn.Module.half, torch.nn.Module.bfloat16])
def test_no_precision_rounds_what_is_known_of_training_molecules(change):
    exact = predictor().heads
    made = change(predictor()).heads
    for name, buffer in exact.kernel.named_buffers():
        assert torch.equal(getattr(made.kernel, name), buffer)
    for name, buffer in exact.moments.named_buffers():
        assert torch.equal(getattr(made.moments, name), buffer)
    x, t = drawn(3, len(exact.kernel.projection), 7), drawn(3, 2, 8)
    torch.testing.assert_close(made.kernel(x, t)[0], exact.kernel(x, t)[0])


def test_many_molecules_are_compared_in_parts(monkeypatch):
    kernel, _ = filled()
    x, t = drawn(9, 5, 3), drawn(9, 3, 4)
    whole = kernel(x, t)
    monkeypatch.setattr("molgeo.predictor.kernel.MOST_PAIRS", 50)
    for part, expected in zip(kernel(x, t), whole, strict=True):
        torch.testing.assert_close(part, expected)


@pytest.mark.parametrize(("n_counts", "n_groups"), [(2, 0), (0, 2), (1, 1)])
def test_a_shape_cannot_count_more_than_it_names(n_counts, n_groups):
    with pytest.raises(ValueError, match="n_counts and n_groups: expected 1 at most, got 2"):
        KernelShape(descriptors=("TPSA",), n_counts=n_counts, n_groups=n_groups)


def test_kernels_are_not_merged():
    with pytest.raises(ValueError, match="expected no kernel"):
        merged([predictor(), predictor()])
