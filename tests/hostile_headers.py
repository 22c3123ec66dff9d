"""Crafted headers with right checksums, every one of them harmful or meaningless."""

import copy
import json

from molgeo import models
from molgeo.predictor.checkpoint.file import seal

HUGE = "x" * 200_000
ESCAPES = "\x1b]0;owned\x07\x1b[31m[/bold][link=file:///etc/passwd]\u202e\r\n\u2028\udcff"

WRONG = {
    int: [None, True, "3", 1.5, -(10**17), 10**17, [1], {"a": 1}, HUGE, ESCAPES],
    float: [True, "0.5", 1e300, -1e300, [0.5], {"a": 0.5}, HUGE, ESCAPES],
    str: [None, False, 3, ["x"], {"x": 1}, HUGE, ESCAPES * 1000],
    bool: [None, 1, "true", [True], {}, HUGE],
    list: [None, 3, "text", {"0": 1}, [None], [[[]]], [HUGE], ["x"] * 20_000, ESCAPES],
    dict: [None, 3, "text", [], [1], {f"key{k}": 0 for k in range(5000)}, ESCAPES],
}
"""Type of a field → values that no field of that type may have."""

FACTS = {
    "name": "small",
    "data": "QM9",
    "n_train": 100,
    "split": "random",
    "level_of_theory": "B3LYP",
    "geometry": "dft",
    "geometry_source": "relaxed",
    "trained_on_forces": False,
    "epochs": 3,
    "steps": 300,
    "interrupted": False,
    "validation_loss": 0.5,
    "training": {"seed": 1},
    "command": "molgeo train",
    "curve": [[1, 0.5], [2, 0.25]],
    "hardware": "1 CPU thread",
    "commit": "abc",
    "date": "2026-01-01",
    "notes": "none",
    "metrics": {"n": 3, "split": "test", "geometry": "dft", "mae": {"gap_eV": 0.5}},
    "from_smiles": {
        "n": 3,
        "failed": 0,
        "split": "test",
        "mae": {"gap_eV": 0.5},
        "rmse": {"gap_eV": 0.5},
        "coverage": {"gap_eV": {"std": 0.5}},
        "flagged": 0.25,
        "classes": {"9 heavy atoms": {"n": 2, "within_90": {"gap_eV": 0.5}}},
    },
    "outside": {
        "n": 3,
        "failed": 0,
        "split": "check",
        "geometry": "given",
        "source": "others",
        "flagged": 0.5,
        "mae": {"gap_eV": 0.5},
        "coverage": {"gap_eV": {"std": 0.5}},
        "worst_flagged": {"gap_eV": 0.75},
    },
    "calibration": [
        {
            "conformers": 8,
            "n": 100,
            "scales": {
                name: {"error": 0.5, "sigma": 1.5, "interval": 2.5} for name in ("gap", "u0", "mu")
            },
        }
    ],
}
"""A header with every field that molgeo reads."""

FREE = {("sha256",), ("training", "seed"), ("header_sha256",)}
"""What is not molgeo's to judge, or is the checksum itself."""


def leaves(value, place=()):
    """Place and value of everything in a header, containers too."""
    yield place, value
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:2]
    else:
        return
    for key, one in items:
        yield from leaves(one, (*place, key))


def changed(header, place, value):
    """A copy of a header with another value in one place."""
    header = copy.deepcopy(header)
    inner = header
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return header


def fields(header):
    """Fields of a wrong type or range, one a header."""
    for place, value in leaves(header):
        if not place or place in FREE or value is None:
            continue
        for wrong in WRONG[type(value)]:
            if place[-1] == "validation_loss" and wrong is None:
                continue
            yield f"{place}={str(wrong)[:20]!r}", changed(header, place, wrong)
    for key in ("format", "config", "domain", "self_test"):
        yield f"no {key}", {k: v for k, v in header.items() if k != key}


def contradictions(header):
    """Fields that are each possible, and together mean nothing."""
    test, properties = header["self_test"], header["config"]["properties"]
    atoms = len(test["z"])
    far = [[0.0, 0.0, 100.0 * k] for k in range(atoms)]
    for place, value in (
        (("self_test", "z"), []),
        (("self_test", "pos"), []),
        (("self_test", "outputs"), {}),
        (("self_test", "z"), test["z"][:-1]),
        (("self_test", "z"), [1] * atoms),
        (("self_test", "z"), [6] * 10_000),
        (("self_test", "pos"), [[0.0, 0.0, 0.0]] * atoms),
        (("self_test", "pos"), far),
        (("self_test", "pos"), [[0.0, 0.0]] * atoms),
        (("self_test", "outputs"), {"gap": test["outputs"]["gap"]}),
        (("self_test", "outputs"), {**test["outputs"], "colour": 1.0}),
        (("self_test", "outputs"), {**test["outputs"], "gap": None}),
        (("self_test", "outputs"), {**test["outputs"], "mu_atomization": 1.0}),
        (("config", "properties"), properties[::-1]),
        (("config", "properties"), [*properties, properties[0]]),
        (("config", "properties"), [*properties, "cv"]),
        (("config", "properties"), properties * 10_000),
        (("domain", "elements"), [8, 6, 1]),
        (("domain", "elements"), [1, 1, 6, 8]),
        (("domain", "elements"), [0, 1, 6, 8]),
        (("domain", "elements"), [1, 6, 8, 119]),
        (("domain", "elements"), list(range(1, 119))),
        (("domain", "colour"), 3),
        (("calibration",), [{"conformers": 8, "n": 100, "scales": {}}]),
    ):
        yield f"{place}: {str(value)[:20]}", changed(header, place, value)


def backbones(header):
    """Configs of every model there is, whose weights the file does not have."""
    for model in models.names():
        config = models.model_class(model)(n_out=None).config
        full = {**vars(config)}
        for name, value in full.items():
            if name == "n_out":
                continue
            wrong = [None, True, "3", [3], {}, -1, 10**6, 10**17, HUGE, ESCAPES]
            wrong += [4096, 1000] if type(value) is int else [1e-300, 1e300]
            if isinstance(value, str):
                wrong += ["", "eval"]
            for one in wrong:
                backbone = {**full, name: one}
                whole = {**header["config"], "model": model, "backbone": backbone}
                yield f"{model}.{name}={str(one)[:20]}", changed(header, ("config",), whole)


def texts(header):
    """Texts that JSON's parsers fail at, or at length."""
    text = seal(header)
    for name, old, new in (
        ("NaN", '"epochs": 3', '"epochs": NaN'),
        ("Infinity", '"steps": 300', '"steps": -Infinity'),
        ("an infinite float", "0.5", "1e999"),
        ("an integer without end", '"n_train": 100', '"n_train": ' + "9" * 5000),
        ("a fraction without end", "0.5", "0." + "5" * 500_000),
        ("brackets", '"seed": 1', '"seed": ' + "[" * 200_000 + "]" * 200_000),
        ("braces", '"seed": 1', '"seed": ' + '{"a":' * 100_000 + "1" + "}" * 100_000),
        ("a key twice", '"epochs": 3', '"epochs": 4, "epochs": 3'),
        ("a line of 800 kB", '"data": "QM9"', '"data": "' + "x" * 800_000 + '"'),
        ("megabytes", '"notes": "none"', '"notes": "' + "x" * 1_500_000 + '"'),
        ("many values", '"seed": 1', '"seed": [' + "0," * 500_000 + "0]"),
        ("many lists", '"seed": 1', '"seed": [' + "[]," * 500_000 + "[]]"),
        ("white space", ", ", ",\n"),
    ):
        assert old in text
        yield name, text.replace(old, new)
    for k in (4, 15, 17, 30, 1000, 10**5, 10**6):
        yield f"{k} brackets alone", "[" * k
        yield f"{k} brackets within a text", '{"' + '\\"[' * min(k, 10**5)
    yield from ((one[:20], one) for one in ("", "{}", "[]", "null", "1", '"x"', "{", "\0", "nan"))
    yield "another checksum", json.dumps({**header, "header_sha256": "0" * 64})


def crafted(header):
    """Name and text or header of everything above.

    Args:
        header: of a small checkpoint that has all of `FACTS`.
    """
    for make in (fields, contradictions, backbones, texts):
        yield from make(header)
