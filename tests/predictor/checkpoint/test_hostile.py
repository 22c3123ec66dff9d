"""A stranger's header with right checksums: refused in one line, before it costs anything."""

import resource
import shutil

import pytest
from checkpoint_files import parts, rewrite, small_predictor
from hostile_headers import FACTS, changed, crafted, leaves
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molgeo.data.qm9.properties import named
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import (
    CheckpointError,
    load,
    outline,
    read_header,
    save_checkpoint,
    self_test,
)
from molgeo.predictor.header import HeaderError, SelfTest, header_of

MOST_KB = 300 * 1024


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A checkpoint that tells all that molgeo reads."""
    path = tmp_path_factory.mktemp("full") / "full.safetensors"
    save_checkpoint(small_predictor(), path, FACTS)
    load(path)
    return path


def verdict(path, read=load):
    """What is wrong with how a file is refused, or None."""
    try:
        read(path)
    except CheckpointError as error:
        line = str(error)
        return None if line.isprintable() and len(line) <= 300 else line[:1000]
    except BaseException as error:
        return repr(error)[:1000]
    return "it was loaded"


def test_every_crafted_header_is_refused(full, tmp_path):
    header, tensors = parts(full)
    path = tmp_path / "hostile.safetensors"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    some = list(crafted(header))[::2]  # to save time
    assert len(some) > 500
    wrong = {}
    for name, content in some:
        rewrite(path, content, tensors)
        if found := verdict(path):
            wrong[name] = found
    assert wrong == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KB


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_value_anywhere_is_refused_or_harmless(full, tmp_path, data):
    header, tensors = parts(full)
    place = data.draw(st.sampled_from([place for place, _ in leaves(header) if place]))
    value = data.draw(VALUES)
    path = tmp_path / "any.safetensors"
    rewrite(path, changed(header, place, value), tensors)
    assert verdict(path) in (None, "it was loaded")
    assert verdict(path, read_header) in (None, "it was loaded")


def test_nothing_large_is_made_for_a_file_of_few_weights(full, monkeypatch):
    """The sizes that a config asks for are compared on the meta device, and never reached."""
    tensors = parts(full)[1]
    made = []

    class Counted(outline._Bounded):
        def __init__(self, n_tensors):
            super().__init__(n_tensors)
            made.append(self)

    monkeypatch.setattr(outline, "_Bounded", Counted)
    config = dict(read_header(full).config)
    backbone = {**config["backbone"], "n_blocks": 4096, "n_features": 4096}
    with pytest.raises(ValueError, match="more layers than 17 tensors hold"):
        outline.check_shapes({**config, "backbone": backbone}, tensors)
    (bound,) = made
    assert bound.made == -1
    assert bound.steps > 0


def test_a_self_test_that_is_too_large_for_its_model():
    wide = {"n_features": 1024, "n_filters": 1, "n_blocks": 1, "n_gaussians": 2}
    predictor = Predictor("schnet", wide, named(["gap"]), head_features=1)
    pos = [(0.0, 0.0, float(k)) for k in range(260)]
    atoms = SelfTest.model_construct(z=[1] * 260, pos=pos, outputs={})
    with pytest.raises(ValueError, match="260 atoms are too many for layers of 1024"):
        self_test.run(predictor, atoms)


def test_a_file_may_hold_2048_tensors(full, tmp_path):
    header, tensors = parts(full)
    path = shutil.copy(full, tmp_path / "many.safetensors")
    many = {f"extra.{k}": tensors["heads.out_bias"].clone() for k in range(2048)}
    rewrite(path, header, {**tensors, **many})
    with pytest.raises(CheckpointError, match="expected at most 2,048 tensors"):
        load(path)


@pytest.mark.parametrize("lengths", [[0, 0], [2.0, 1.0], [-1, 1], [1.0], ["1", 2]])
def test_lengths_of_bonds_that_cannot_be(lengths):
    """They are divided by when a structure is looked at."""
    header = read_header("spectrum_net-gfn2").told()
    header["domain"]["environments"]["bonds"]["C-C"] = lengths
    with pytest.raises(HeaderError, match=r"bonds\.C-C"):
        header_of(header)
