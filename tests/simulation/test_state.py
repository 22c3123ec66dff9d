import numpy as np
import pytest

from molgeo.simulation.state import StateError, load_state, save_state


def some_state(seed=0):
    rng = np.random.default_rng(seed)
    rng.standard_normal(3)
    return {
        "positions": rng.standard_normal((5, 3)),
        "nothing": np.zeros((0, 3)),
        "flags": np.array([True, False]),
        "count": np.int64(3),
        "deep": {"a": {"b": [np.arange(3), 1.0 / 3.0, None, "x"]}},
        "rng": rng.bit_generator.state,
        "energy": -19_444.123456789012,
        "scalar": np.array(2.5),
    }


def test_everything_comes_back_to_the_last_bit(tmp_path):
    state, path = some_state(), tmp_path / "a.state"
    save_state(path, state)
    found = load_state(path)
    for name in ("positions", "nothing", "flags"):
        assert found[name].dtype == state[name].dtype
        np.testing.assert_array_equal(found[name], state[name])
    assert found["count"] == 3
    assert found["energy"] == state["energy"]
    assert found["scalar"] == 2.5
    np.testing.assert_array_equal(found["deep"]["a"]["b"][0], [0, 1, 2])
    assert found["deep"]["a"]["b"][1:] == [1.0 / 3.0, None, "x"]
    rng = np.random.default_rng(5)
    rng.bit_generator.state = found["rng"]
    other = np.random.default_rng(5)
    other.bit_generator.state = state["rng"]
    assert rng.standard_normal() == other.standard_normal()


def test_a_failed_save_leaves_the_old_state(tmp_path, monkeypatch):
    path = tmp_path / "a.state"
    save_state(path, some_state(0))

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="disk full"):
        save_state(path, some_state(1))
    np.testing.assert_array_equal(load_state(path)["positions"], some_state(0)["positions"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.state"]


def test_what_is_no_state(tmp_path):
    path = tmp_path / "a.state"
    with pytest.raises(FileNotFoundError, match=r"nothing to resume: .*a.state does not exist"):
        load_state(path)
    save_state(path, some_state())
    whole = path.read_bytes()
    for text in (b"", b"not a state", whole[:200], whole[:-30]):
        path.write_bytes(text)
        with pytest.raises(StateError, match=r"a.state: no state of a run, or a damaged one"):
            load_state(path)
    with path.open("wb") as file:
        np.savez(file, state=np.array('{"format": 99}'))
    with pytest.raises(StateError, match="expected a state of version 1, got 99"):
        load_state(path)


def test_objects_are_never_unpickled(tmp_path):
    path = tmp_path / "a.state"
    with path.open("wb") as file:
        np.savez(file, state=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(StateError):
        load_state(path)
