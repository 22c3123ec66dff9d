"""YAML of configs: plain values, of bounded cost."""

import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.training.config import read_config
from molgeo.training.yaml_text import parse_yaml, read_yaml

FILES = "data: forces\ndata_file: [a.npz]\n"

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [*{chr(97 + k)}, *{chr(97 + k)}]\n" for k in range(20)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "line 1: expected values written out, got an anchor 'a'"),
        ("a: *b", "line 1: expected values written out, got an alias 'b'"),
        ("a: 1\n<<: {b: 2}", "line 2: expected each key once, got '<<'"),
        ("a: 1\nb: {c: 1, d: 2, c: 3}", "line 2: expected each key once, got 'c'"),
        ("a: !!python/object/apply:os.system [id]", "expected plain values, got the tag"),
        ("a: !!binary aGk=", "got the tag 'tag:yaml.org,2002:binary'"),
        ("!mine {a: 1}", "got the tag '!mine'"),
        ("? [a, b]\n: 1", "expected text as a key, got a list"),
        ("a: 1\n---\nb: 2", "line 2: expected one document"),
        ("a: " + "[" * 11 + "]" * 11, "expected at most 10 levels"),
        ("[" * 10**5, "expected at most 10 levels"),
        ("a: " + "x" * 2**18, "expected at most 262,144 bytes"),
        ("a: " + "9" * 5000, "a number or a date that cannot be"),
        ("a: 2024-13-45", "a number or a date that cannot be"),
        ("a: [1", "line 2: no valid YAML"),
        ("a: 'b", "no valid YAML"),
        ("a:\t- b: c", "no valid YAML"),
        ("a: \x07", "no valid YAML"),
        ("%TAG ! tag:x,2000:\n---\n!y {}", "got the tag"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text, "x.yaml")
    line = str(caught.value)
    assert line.startswith("x.yaml: ")
    assert line.isprintable()
    assert len(line) <= 300


def test_what_is_no_file_of_text(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("pipe.yaml", "."):
        with pytest.raises(ValueError, match="expected a YAML file, got a folder, a pipe"):
            read_yaml(tmp_path / name)
    (tmp_path / "x.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ValueError, match="expected YAML in UTF-8"):
        read_yaml(tmp_path / "x.yaml")
    with (tmp_path / "y.yaml").open("wb") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(ValueError, match="expected at most 262,144 bytes"):
        read_yaml(tmp_path / "y.yaml")
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "none.yaml")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcdef", min_size=1), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(VALUES, st.booleans())
def test_plain_values_are_those_of_pyyaml(value, flow):
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    if "&" in text and "*" in text:  # equal lists of one object
        return
    assert parse_yaml(text) == yaml.safe_load(text) == value


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("ab:-[]{}#&*!|>'\"%@,?\n \t\x00\x1b\u2028", max_size=40))
def test_any_text_is_a_value_or_one_line(text):
    try:
        parse_yaml(text)
    except ValueError as error:
        message = str(error)
    else:
        return
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: .inf", "learning_rate: expected a finite number, got inf"),
        ("learning_rate: -1", "learning_rate: expected at least 0"),
        ("learning_rate: true", "learning_rate: expected a number, got True"),
        ("max_minutes: .nan", "max_minutes: expected a finite number, got nan"),
        ("weight_decay: 1e400", "weight_decay: expected a finite number, got inf"),
        ("batch_size: 99999999999999999999", "batch_size: expected at most"),
        ("batch_size: true", "batch_size: expected a whole number, got True"),
        ("seed: -1", "seed: expected at least 0"),
        ("seed: 4294967296", "seed: expected at most 4294967295"),
        ("backbone: {n_blocks: 1000000}", "n_blocks: expected at most 4096"),
        ("backbone: {n_blocks: 4096}", "asks for more layers than 2048 tensors hold"),
        ("backbone: {n_gaussians: 1}", "n_gaussians: expected 2 or more"),
        ("backbone: {cutoff: .inf}", "cutoff: expected a finite number"),
        ("loss_weights: {gap: .nan}", "loss_weights.gap: expected a finite number"),
        ("loss_weights: {gap: heavy}", "loss_weights.gap: expected a number, got 'heavy'"),
        ("properties: [colour]", "'colour'"),
        ("properties: []", "properties: expected some of mu, .*, got none"),
        ("model: ../schnet", "model: expected one of"),
        ('name: "../../x"', "name: expected the name of a file in run_dir"),
        (
            f"{FILES}atom_references: {{Xx: 1.0}}",
            "symbols of elements, got 'Xx'",
        ),
        (
            "data: forces\ndata_file: [a.npz]\natom_references: {H: .inf}",
            "atom_references.H: expected a finite",
        ),
        (
            "data: forces\ndata_file: [a.npz]\nenergy_weight: 0\nforce_weight: 0",
            "expected one above 0",
        ),
        ("1: 2", "'1': no such key"),
        ('"\\e[31m": 2', r"\\x1b\[31m.*no such key"),
    ],
)
def test_configs_that_mean_nothing(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text if "data:" in text else f"data: qm9\n{text}")
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        read_config(path)
    assert str(caught.value).isprintable()
