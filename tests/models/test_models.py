"""How models are found and configured; what each of them does is in tests/conformance."""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Literal

import pytest
from pydantic import Field

from molgeo import models
from molgeo.models import Backbone, given_values, resolve_config, schnet


@dataclass(frozen=True)
class Inner:
    size: int = 3
    doubled: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "doubled", 2 * self.size)


@dataclass(frozen=True)
class Config:
    """As another package may write it: it knows nothing of molgeo."""

    width: int = 8
    cutoff: float = 5.0
    form: Literal["gram", "reference"] = "gram"
    n_out: int | None = 1
    flag: bool = False
    shape: tuple[int, ...] = (1, 2)
    large: Annotated[int, Field(ge=0, le=10**6)] = 10**5
    inner: Inner = Inner()
    either: float | str | None = None
    several: list[int] | Annotated[int, Field(le=9)] = 3
    layers: list[int] = field(default_factory=list)
    total: int = field(init=False, default=7)


def test_names():
    assert "schnet" in models.names()
    assert models.names() == sorted(models.names())


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"expected one of .*schnet.*, got 'shcnet'; did you mean 'schnet'\?"
    ):
        models.build("shcnet")
    with pytest.raises(ValueError, match=r"got 'transformer'$"):
        models.model_class("transformer")


@pytest.mark.parametrize("name", models.own_names())
def test_every_file_of_the_folder_is_a_model(name):
    cls = models.model_class(name)
    assert cls.__module__ == f"molgeo.models.{name}"
    assert models.model_class(cls) is models.model_class(f"{cls.__module__}.{cls.__name__}") is cls
    assert getattr(models, cls.__name__) is cls
    assert getattr(models, name).MODEL is cls
    assert models.name_of(cls) == models.name_of(f"molgeo.models.{cls.__name__}") == name


def test_attributes_are_classes_or_modules():
    assert models.SchNet is models.model_class("schnet")
    assert isinstance(models.schnet, ModuleType)
    assert schnet is models.schnet
    for name in ("SCHNET", "Schnet", "Foo", "__wrapped__"):
        with pytest.raises(AttributeError, match=name):
            getattr(models, name)


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
        ("large", 10**6),
        ("inner", {"size": 4}),
        ("width", 4),
        ("cutoff", 4),
        ("cutoff", 4.5),
        ("form", "reference"),
        ("n_out", None),
        ("n_out", 3),
        ("flag", True),
        ("shape", [3, 4]),
        ("either", 1.5),
        ("either", "far"),
        ("either", None),
        ("several", [1, 2]),
    ],
)
def test_values_that_fit(field, value):
    found = getattr(resolve_config(Config, None, {field: value}), field)
    assert found == {"shape": (3, 4), "inner": Inner(4)}.get(field, value)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("width", 4.0, "a whole number, got 4.0"),
        ("width", True, "a whole number, got True"),
        ("width", None, "a whole number, got None"),
        ("cutoff", "5", "a number, got '5'"),
        ("cutoff", False, "a number, got False"),
        ("form", "grim", "one of gram, reference, got 'grim'"),
        ("form", 1, "one of gram, reference, got 1"),
        ("n_out", "1", "a whole number, got '1'"),
        ("flag", 1, "true or false, got 1"),
        ("width", 4097, "at most 4096, got 4097"),
        ("width", -1, "at least 0, got -1"),
        ("n_out", 10**9, "at most 4096, got 1000000000"),
        ("large", 10**6 + 1, "at most 1000000, got 1000001"),
        ("cutoff", 0, r"at least 0\.1, got 0"),
        ("cutoff", 1e3, r"at most 100, got 1000\.0"),
        ("cutoff", float("nan"), "a finite number, got nan"),
        ("layers", "x", "a list, got 'x'"),
        ("inner", 3, "keys with values, got 3"),
        ("either", [1], r"a number, text or nothing, got \[1\]"),
        ("several", 10, "a list or at most 9, got 10"),
        ("width", print, "a whole number, got '<built-in function print>'"),
    ],
)
def test_values_that_do_not_fit(field, value, expected):
    with pytest.raises(ValueError, match=f"Config: {field}: expected {expected}"):
        resolve_config(Config, None, {field: value})


def test_a_given_config_is_checked_too():
    with pytest.raises(ValueError, match="Config: width: expected a whole number, got '8'"):
        resolve_config(Config, Config(width="8"), {})
    with pytest.raises(TypeError, match="expected a Config, got a Inner"):
        resolve_config(Config, Inner(), {})
    with pytest.raises(ValueError, match=r"inner\.size: expected a whole number, got"):
        resolve_config(Config, None, {"inner": {"size": "x"}})


def test_a_mistake_within_a_choice_of_types_has_its_place():
    with pytest.raises(ValueError, match=r"several\.1: expected a whole number, got 'x'"):
        resolve_config(Config, None, {"several": [1, "x"]})


def test_fields_that_are_not_given_are_the_classes_own():
    found = resolve_config(Config, Config(inner=Inner(4)), {"width": 4})
    assert (found.total, found.inner.doubled) == (7, 8)
    plain = given_values(found)
    assert "total" not in plain
    assert plain["inner"] == {"size": 4}
    assert resolve_config(Config, None, plain) == found
    with pytest.raises(TypeError, match="unknown field 'total'"):
        resolve_config(Config, None, {"total": 3})


def test_an_unknown_field_lists_all():
    with pytest.raises(
        TypeError,
        match=r"unknown field 'cutof'; did you mean 'cutoff'\?; it has width, cutoff, form, n_out",
    ):
        resolve_config(Config, None, {"cutof": 4.0})
