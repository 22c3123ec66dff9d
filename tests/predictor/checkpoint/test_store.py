"""Whatever is wrong with a file is seen, and is a `CheckpointError` of one line."""

import dataclasses
import io
import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from checkpoint_files import SMALL, WATER, parts, refused, rewrite, small_predictor
from safetensors import safe_open
from safetensors.torch import save_file

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.graph import radius_graph
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    FORMAT_VERSION,
    CheckpointError,
    catalogue,
    file,
    load,
    read_header,
    save_checkpoint,
    store,
)
from molgeo.predictor.domain import Domain
from molgeo.predictor.header import Measured

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def predictor():
    return small_predictor()


# --- what is written ----------------------------------------------------------------------------


def test_round_trip_is_exact(predictor, path):
    loaded = load(path)
    assert not loaded.training
    state = predictor.state_dict()
    assert state.keys() == loaded.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == state[name].dtype
        # Bytes, as NaN is not equal to itself.
        assert tensor.numpy().tobytes() == state[name].numpy().tobytes()
    with torch.no_grad():
        old, new = predictor(*WATER), loaded(*WATER)
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in ("gap", "u0", "mu"))
    assert loaded.domain == predictor.domain
    assert loaded.name == "small"
    assert {p.device.type for p in loaded.parameters()} == {"cpu"}


def test_header(path, predictor):
    header = read_header(path)
    assert header.format == FORMAT_VERSION
    assert header.data == "QM9"
    assert header.note == "Å, ⟨R²⟩"
    assert header.config == predictor.config
    # Every field is there, so that a default that changes later does not change this model.
    assert header.config.backbone == {**SMALL, "activation": "ssp", "n_out": None}
    assert list(map(dataclasses.asdict, header.config.properties)) == list(
        map(dataclasses.asdict, predictor.properties)
    )
    assert header.domain == predictor.domain
    assert set(header.self_test.z) == {1, 6, 8}
    # Oxygen's free atom is unknown here, so there is no atomization energy to compare.
    assert set(header.self_test.outputs) == {"gap", "u0", "mu", "u0_atomization"}
    assert header.self_test.outputs["u0_atomization"] is None
    assert header.outputs == load(path).outputs
    assert load(path).header == header
    assert load(path).outputs.keys() == {"gap", "u0", "mu", "u0_atomization"}


def test_properties_are_stored_whole(path):
    gap, u0, _ = parts(path)[0]["config"]["properties"]
    assert u0 == {
        "name": "u0",
        "unit": "eV",
        "head": "sum",
        "symbol": "U0",
        "description": "internal energy at 0 K, total",
        "is_energy": True,
        "column": "u0_eV",
    }
    assert gap["minimum"] == 0.0


def test_header_is_strict_json(path):
    def refuse(constant):
        raise AssertionError(constant)

    with safe_open(path, framework="pt") as file:
        json.loads(file.metadata()["molgeo"], parse_constant=refuse)


def test_writing_the_same_twice_gives_the_same_bytes(predictor, path, tmp_path):
    save_checkpoint(predictor, tmp_path / "b.safetensors", {"data": "QM9", "note": "Å, ⟨R²⟩"})
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()


def test_self_test_ignores_the_precision_of_training(predictor, path, tmp_path):
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            save_checkpoint(predictor.train(), tmp_path / "b.safetensors", {})
            load(tmp_path / "b.safetensors")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    assert read_header(tmp_path / "b.safetensors").self_test == read_header(path).self_test
    assert predictor.training


def test_resaving_a_loaded_model_with_new_facts(path, tmp_path):
    loaded = load(path)
    facts = loaded.header.model_copy(update={"metrics": Measured(n=3)})
    save_checkpoint(loaded, tmp_path / "b.safetensors", facts)
    assert load(tmp_path / "b.safetensors").header == facts
    assert loaded.header.metrics.n == 0


def test_what_cannot_be_saved(predictor, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        save_checkpoint(predictor, tmp_path / "a.pt", {})
    target = tmp_path / "a.safetensors"
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_checkpoint(predictor, target, {"x": object()})
    with pytest.raises(ValueError, match=r"expected float32 weights, got torch\.float64"):
        save_checkpoint(small_predictor().double(), target, {})
    with torch.no_grad():
        predictor.heads.out_bias[0] = torch.nan
    with pytest.raises(ValueError, match="gives nan for gap"):
        save_checkpoint(predictor, target, {})
    predictor.domain = None
    with pytest.raises(ValueError, match="no domain"):
        save_checkpoint(predictor, target, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_a_failed_write_leaves_the_old_file(predictor, path, monkeypatch, moment):
    before = path.read_bytes()

    def half(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left on device")

    def fail(*_):
        raise OSError("no space left on device")

    if moment == "write":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr("molgeo.runtime.whole_file.os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(predictor, path, {"data": "other"})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_writing_makes_the_folder_and_replaces_the_file(predictor, tmp_path):
    target = tmp_path / "new" / "a.safetensors"
    for data in ("first", "second"):
        save_checkpoint(predictor, target, {"data": data})
        assert read_header(target).data == data


# --- damaged files ------------------------------------------------------------------------------


def test_truncated_anywhere(path):
    whole = path.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    lengths = {0, 1, 7, 8, 9, header_end - 1, header_end, header_end + 1, len(whole) - 1}
    for length in sorted(lengths | set(range(10, len(whole), len(whole) // 40))):
        path.write_bytes(whole[:length])
        refused(path, "not a whole safetensors file")


def test_a_flipped_bit_anywhere(path):
    whole = path.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    positions = [
        *range(8),
        *range(8, header_end, header_end // 150),
        *range(header_end - 3, header_end + 3),
        *range(header_end, len(whole), (len(whole) - header_end) // 100),
        len(whole) - 1,
    ]
    for number, position in enumerate(positions):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << number % 8
        path.write_bytes(damaged)
        refused(
            path, "not a whole safetensors|damaged|checksum|format version|not a molgeo checkpoint"
        )


def test_a_flipped_bit_of_the_header_is_seen_without_the_weights(path):
    path.write_bytes(path.read_bytes().replace(b'max_atoms\\": 9', b'max_atoms\\": 8'))
    with pytest.raises(CheckpointError, match="header is not the one that was written"):
        read_header(path)


def test_bytes_after_the_end(path):
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    refused(path, "not a whole safetensors file")


class Malice:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_never_run(tmp_path, kind):
    victim, path = tmp_path / "victim", tmp_path / "evil.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malice(victim)))
    else:
        torch.save({"state_dict": Malice(victim)}, path)
    refused(path, "not a whole safetensors file")
    assert not victim.exists()
    content = io.BytesIO(path.read_bytes())  # It would have, had it been unpickled.
    pickle.load(content) if kind == "pickle" else torch.load(content, weights_only=False)
    assert victim.exists()


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.ones(3)}, path, metadata=metadata)
        refused(path, "not a molgeo checkpoint")


def test_neither_a_file_nor_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "_shipped_folders", list)
    refused(tmp_path, "is a folder")
    refused(tmp_path / "absent.safetensors", "neither a file nor a shipped model.*none is shipped")
    with pytest.raises(CheckpointError, match=DEFAULT_MODEL):
        load()


def test_an_unreadable_file(path, monkeypatch):
    def fail(*_, **__):
        raise PermissionError("permission denied")

    monkeypatch.setattr(file.safetensors, "safe_open", fail)
    refused(path, "permission denied")


# --- whole files that say the wrong thing -------------------------------------------------------


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, -1, None, "1", 1.0, True, [1]])
def test_unknown_format(path, version):
    header, tensors = parts(path)
    rewrite(path, {**header, "format": version}, tensors)
    refused(path, "format version .* is unknown.* a newer molgeo may read it")
    header.pop("format")
    rewrite(path, header, tensors)
    refused(path, "format version None")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"'])
def test_header_that_is_no_object(path, text):
    rewrite(path, text, parts(path)[1])
    refused(path, "damaged|format version")


def test_a_newer_format_is_named_even_if_its_checksums_differ(path):
    header, tensors = parts(path)
    text = json.dumps({**header, "format": FORMAT_VERSION + 1})
    save_file(tensors, path, metadata={"molgeo": text})
    refused(path, f"format version {FORMAT_VERSION + 1} is unknown")


def test_wrong_checksums(path):
    header, tensors = parts(path)
    tensors["heads.out_bias"] += 1e-6
    rewrite(path, header, tensors, redo_checksum=False)
    refused(path, "weights are not those that were written")
    header.pop("sha256")
    rewrite(path, header, tensors, redo_checksum=False)
    refused(path, "weights are not those that were written")
    text = json.dumps(header)
    save_file(tensors, path, metadata={"molgeo": text})
    refused(path, "header is not the one that was written")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": "schnett"}, "did you mean 'schnet'"),
        ({"model": "../schnet"}, r"expected one of .*got '\.\./schnet'"),
        ({"model": "\x1b]0;"}, r"got '\\x1b\]0;'"),
        ({"backbone": {**SMALL, "n_feature": 4}}, "did you mean 'n_features'"),
        ({"backbone": {**SMALL, "activation": "relu"}}, "activation: expected .* got 'relu'"),
        ({"backbone": {**SMALL, "cutoff": 0}}, r"cutoff: expected at least 0\.1, got 0"),
        ({"backbone": {**SMALL, "cutoff": 1e-300}}, "cutoff: expected"),
        (
            {"backbone": {**SMALL, "n_blocks": 10**6}},
            "n_blocks: expected at most 4096, got",
        ),
        ({"backbone": {**SMALL, "n_blocks": 4096}}, "more layers than 17 tensors hold"),
        (
            {"backbone": {**SMALL, "n_blocks": 2}},
            r"the file has no backbone\.blocks\.1\..* and 8 more",
        ),
        ({"backbone": {**SMALL, "n_blocks": 0}}, "the file has an unknown tensor .* and 8 more"),
        ({"backbone": {**SMALL, "n_features": 0}}, "a layer without weights"),
        ({"backbone": {**SMALL, "n_gaussians": 1}}, "do not fit together"),
        ({"backbone": {**SMALL, "n_features": 4096}}, "size mismatch: expected backbone"),
        ({"head_features": 4096}, "size mismatch: expected heads"),
    ],
)
def test_config_that_does_not_fit(path, change, match):
    header, tensors = parts(path)
    rewrite(path, {**header, "config": {**header["config"], **change}}, tensors)
    refused(path, match)


def test_weights_that_do_not_fit(path):
    header, tensors = parts(path)
    bias = tensors["heads.out_bias"]
    rewrite(path, header, {k: v for k, v in tensors.items() if k != "heads.out_bias"})
    refused(path, "the file has no heads.out_bias")
    rewrite(path, header, {**tensors, "extra\x07": torch.ones(1)})
    refused(path, r"unknown tensor extra\\x07")
    rewrite(path, header, {**tensors, "heads.out_bias": torch.ones(99)})
    refused(path, r"size mismatch: expected heads.out_bias .*\(3,\).*\(99,\)")
    rewrite(path, header, {**tensors, "heads.out_bias": bias.double()})
    refused(path, r"size mismatch: expected heads.out_bias of torch.float32")
    for kind in (torch.float16, torch.int64, torch.bool):
        rewrite(path, header, {**tensors, "heads.out_bias": bias.to(kind)})
        refused(path, rf"heads\.out_bias.*expected float32 or float64, got {kind}")
    rewrite(path, header, {**tensors, "heads.out_bias": bias[:0]})
    refused(path, r"heads\.out_bias.* shape \(0,\)")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["heads.out_bias", "baseline", "scale"])
def test_weights_that_are_no_numbers(path, name, value):
    header, tensors = parts(path)
    tensors[name].view(-1)[-1] = value
    rewrite(path, header, tensors)
    refused(path, f"{name} holds NaN or infinite values", verify=False)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_scale_that_lets_every_self_test_pass_or_fail(path, value):
    header, tensors = parts(path)
    tensors["scale"][1] = value
    rewrite(path, header, tensors)
    refused(path, "scale: expected numbers above 0", verify=False)


def test_self_test_sees_altered_weights(path):
    header, tensors = parts(path)
    tensors["backbone.embedding.weight"] *= 1.5
    rewrite(path, header, tensors)
    refused(path, r"self-test failed, gap_eV should be [-\d.]+ and is [-\d.]+")
    assert load(path, verify=False).header.data == "QM9"


# --- versions -----------------------------------------------------------------------------------


def test_migrations_run_in_order_on_header_and_weights(path, monkeypatch):
    header, tensors = parts(path)
    config = dict(header["config"])
    old = {**header, "format": FORMAT_VERSION - 2, "net": config.pop("model"), "config": config}
    tensors["heads.bias"] = tensors.pop("heads.out_bias")
    rewrite(path, old, tensors)

    def rename_model(header, weights):
        header["config"]["model"] = header.pop("net")
        return {**header, "format": FORMAT_VERSION - 1}, weights

    def rename_bias(header, weights):
        assert header["format"] == FORMAT_VERSION - 1
        renamed = {k.replace("heads.bias", "heads.out_bias"): v for k, v in weights.items()}
        return {**header, "format": FORMAT_VERSION}, renamed

    steps = {FORMAT_VERSION - 2: rename_model, FORMAT_VERSION - 1: rename_bias}
    monkeypatch.setattr(store, "MIGRATIONS", steps)
    assert read_header(path).config.model == "schnet"
    assert load(path).header.format == FORMAT_VERSION


def test_every_format_has_a_fixture_and_every_old_one_a_migration():
    files = {int(file.stem.removeprefix("format_")) for file in FIXTURES.glob("*.safetensors")}
    assert files == set(range(1, FORMAT_VERSION + 1))
    assert set(store.MIGRATIONS) == set(range(1, FORMAT_VERSION))


FORMAT_1_WATER = {
    "mu": 0.1473383,
    "alpha": 2.1941599,
    "homo": 1.2170006,
    "lumo": 0.8817207,
    "gap": 0.8522365,
    "r2": 3.9380786,
    "zpve": 2.4721292,
    "u0": 2.1273242,
    "u298": 2.3104164,
    "h298": 2.3361089,
    "g298": 3.2334193,
    "cv": 3.0920702,
    "u0_atomization": 0.0178801,
    "u298_atomization": -0.1037101,
    "h298_atomization": 0.1279152,
    "g298_atomization": 0.7367022,
}


FORMAT_2_WATER = {
    "mu": 0.214493,
    "alpha": 2.1242401,
    "homo": 1.0352097,
    "lumo": 1.2694161,
    "gap": 0.7488452,
    "r2": 3.2872859,
    "zpve": 3.711427,
    "u0": 2.8794098,
    "u298": 2.6753879,
    "h298": 2.7010805,
    "g298": 2.6921422,
    "cv": 2.9248932,
    "logS": 1.344466,
    "u0_atomization": -0.6598587,
    "u298_atomization": 0.2765978,
    "h298_atomization": 0.5544725,
    "g298_atomization": 0.4128162,
}


def test_format_1_still_loads():
    path = FIXTURES / "format_1.safetensors"
    assert path.stat().st_size < 60_000
    predictor = load(path)
    assert predictor.properties == tuple(PROPERTIES.values())
    assert predictor.domain == Domain((1, 6, 7, 8, 9), max_atoms=29, min_distance=0.96)
    with torch.no_grad():
        out = predictor(*WATER)
    for name, expected in FORMAT_1_WATER.items():
        assert float(out[name]) == pytest.approx(expected, rel=1e-5)


def test_format_2_still_loads():
    predictor = load(FIXTURES / "format_2.safetensors")
    *published, own = predictor.properties
    assert tuple(published) == tuple(PROPERTIES.values())
    assert dataclasses.astuple(own)[:5] == (
        "logS",
        "log mol/L",
        "mean",
        "log S",
        "aqueous solubility",
    )
    with torch.no_grad():
        out = predictor(*WATER)
    assert {k: float(v) for k, v in out.items()} == pytest.approx(FORMAT_2_WATER, rel=1e-5)


FORMAT_3_SIGNALS = [0.4133701, 0.4030232, 1.0239816, 0.6499352, 1.0]


def test_format_3_still_loads():
    predictor = load(FIXTURES / "format_3.safetensors")
    with torch.no_grad():
        out, _, signals, _ = predictor.judged(*WATER)
    assert {k: float(v) for k, v in out.items()} == pytest.approx(FORMAT_2_WATER, rel=1e-5)
    assert signals.tolist()[0] == pytest.approx(FORMAT_3_SIGNALS, rel=1e-4)


FORMAT_4_FORCES_STD = [0.5215545, 0.5129427, 0.5129427]


def test_format_4_still_loads():
    predictor = load(FIXTURES / "format_4.safetensors")
    z, pos = WATER
    found = predictor.potential(z, pos, radius_graph(pos, predictor.cutoff), derivatives=False)
    assert found.forces_std.tolist() == pytest.approx(FORMAT_4_FORCES_STD, rel=1e-4)
    with torch.no_grad():
        out, _, signals, _ = predictor.judged(*WATER)
    assert {k: float(v) for k, v in out.items()} == pytest.approx(FORMAT_2_WATER, rel=1e-5)
    assert signals.tolist()[0] == pytest.approx(FORMAT_3_SIGNALS, rel=1e-4)
