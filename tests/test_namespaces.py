"""What can be imported from a module of molgeo by a common name is molgeo's own."""

import importlib
import pkgutil

import pytest

import molgeo

VERBS = """
add build calculate check checkpoint compute convert download evaluate export find fit generate get
infer label load make measure move open parse plot predict prepare read relax report run sample save
seal simulate split store test train validate write
"""
"""What a user may expect molgeo to do by such a name."""

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(molgeo.__path__, "molgeo.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_no_module_lends_another_librarys_function(name):
    module = importlib.import_module(name)  # left out if a package it needs is not installed
    foreign = [
        verb
        for verb in VERBS.split()
        if callable(value := vars(module).get(verb))
        and not getattr(value, "__module__", "").startswith("molgeo")
    ]
    assert foreign == []


@pytest.mark.parametrize("name", ["molgeo", "molgeo.predictor.checkpoint"])
def test_what_a_package_names_is_there(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for one in module.__all__:
        assert getattr(module, one) is not None


def test_dir_lists_what_is_meant():
    assert dir(molgeo) == sorted(molgeo.__all__)
