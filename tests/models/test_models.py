"""How models are found and configured; what each of them does is in tests/conformance."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import pytest

from molgeo import models
from molgeo.models import Backbone, resolve_config, schnet


@dataclass(frozen=True)
class Config:
    width: int = 8
    cutoff: float = 5.0
    form: Literal["gram", "reference"] = "gram"
    n_out: int | None = 1
    flag: bool = False
    shape: tuple[int, ...] = (1, 2)


def test_names():
    assert "schnet" in models.names()
    assert models.names() == sorted(models.names())


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"expected one of \[.*\], got 'shcnet', did you mean 'schn"
    ):
        models.build("shcnet")
    with pytest.raises(ValueError, match=r"got 'transformer'$"):
        models.model_class("transformer")


def test_attributes_are_classes_or_modules():
    assert models.SchNet is models.model_class("schnet")
    assert isinstance(models.schnet, ModuleType)
    assert schnet is models.schnet
    for name in ("SCHNET", "Schnet", "Foo"):
        with pytest.raises(AttributeError, match=name):
            getattr(models, name)


def module_of(monkeypatch, **content):
    module = ModuleType("molgeo.models.fake")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(models, "names", lambda: ["fake"])


def test_a_model_may_import_another_ones_class(monkeypatch):
    own = type("Own", (models.SchNet,), {"__module__": "molgeo.models.fake"})
    module_of(monkeypatch, SchNet=models.SchNet, Backbone=Backbone, Own=own)
    assert models.model_class("fake") is own


def test_a_module_without_a_model(monkeypatch):
    module_of(monkeypatch, Backbone=Backbone)
    with pytest.raises(
        TypeError, match=r"molgeo\.models\.fake: expected a class that extends Back"
    ):
        models.model_class("fake")


def test_a_backbone_must_have_features():
    with pytest.raises(TypeError, match="Backbone does not say"):
        Backbone().atom_features(None, None, None)


def test_fields_override_a_config():
    assert resolve_config(Config, None, {}) == Config()
    given = Config(width=16)
    assert resolve_config(Config, given, {"cutoff": 3}) == Config(width=16, cutoff=3)
    assert given.cutoff == 5.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 4),
        ("cutoff", 4),
        ("cutoff", 4.5),
        ("form", "reference"),
        ("n_out", None),
        ("n_out", 3),
        ("flag", True),
        ("shape", [3, 4]),
    ],
)
def test_values_that_fit(field, value):
    assert getattr(resolve_config(Config, None, {field: value}), field) == value


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("width", 4.0, "int, got 4.0"),
        ("width", True, "int, got True"),
        ("width", None, "int, got None"),
        ("cutoff", "5", "float, got '5'"),
        ("cutoff", False, "float, got False"),
        ("form", "grim", r"Literal\['gram', 'reference'\], got 'grim'"),
        ("form", 1, r"Literal\['gram', 'reference'\], got 1"),
        ("n_out", "1", r"int \| None, got '1'"),
        ("flag", 1, "bool, got 1"),
        ("width", 4097, "0 to 4096, got 4097"),
        ("width", -1, "0 to 4096, got -1"),
        ("n_out", 10**9, "0 to 4096, got 1000000000"),
        ("cutoff", 0, r"0\.1 to 100\.0, got 0"),
        ("cutoff", 1e3, r"0\.1 to 100\.0, got 1000\.0"),
        ("cutoff", float("nan"), "a finite number, got nan"),
    ],
)
def test_values_that_do_not_fit(field, value, expected):
    with pytest.raises(ValueError, match=f"Config: {field}: expected {expected}"):
        resolve_config(Config, None, {field: value})


def test_an_unknown_field_lists_all():
    with pytest.raises(
        TypeError,
        match=r"unknown field 'cutof', did you mean 'cutoff'\?; it has width, cutoff, form, n_out",
    ):
        resolve_config(Config, None, {"cutof": 4.0})
