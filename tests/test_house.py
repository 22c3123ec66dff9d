"""The house is kept: one meaning per name in a room, short functions and modules, no circles."""

import ast
import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import molgeo

ROOT = Path(molgeo.__file__).parent
MOST_LINES_OF_A_FUNCTION = 80
MOST_LINES_OF_A_MODULE = 450

ALLOWED = {
    "data": {"FORMAT_VERSION"},  # each kind of files has one
    # The papers' names, and the class that each module is found by.
    "models": {"Interaction", "InteractionBlock", "OutputBlock", "MODEL"},
    "simulation": {"Array"},  # the same of both
    "testing": {"CHECKS"},  # a list of modules' lists
}
"""Room → public names that several of its modules define, and why they may."""


def sources():
    return {path.relative_to(ROOT): path.read_text() for path in sorted(ROOT.rglob("*.py"))}


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(text) for path, text in sources().items()}


@pytest.fixture(scope="module")
def imports():
    graph = grimp.build_graph("molgeo", cache_dir=None, exclude_type_checking_imports=True)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def public(tree):
    """Names of the functions, the classes and the values that a module defines."""
    names = set()
    for one in tree.body:
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            names.add(one.name)
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if name[0] != "_"}


def test_a_public_name_means_one_thing_within_a_room(trees):
    found = defaultdict(list)
    for path, tree in trees.items():
        for name in public(tree):
            found[path.parts[0], name].append(str(path))
    twice = {place for place, paths in found.items() if len(paths) > 1}
    allowed = {(room, name) for room, names in ALLOWED.items() for name in names}
    assert twice - allowed == set()
    assert allowed - twice == set(), "allowed, but no longer needed"


def test_messages_are_said_in_one_way():
    saying = r"stderr\.write|file=(sys\.)?stderr"
    found = [str(path) for path, text in sources().items() if re.search(saying, text)]
    assert found == ["runtime/plain_text.py"]


def test_no_function_is_long(trees):
    lengths = {
        f"{path}: {one.name}": one.end_lineno - one.lineno + 1
        for path, tree in trees.items()
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {k: n for k, n in lengths.items() if n > MOST_LINES_OF_A_FUNCTION} == {}


def test_no_module_is_long():
    lengths = {str(path): len(text.splitlines()) for path, text in sources().items()}
    assert {k: n for k, n in lengths.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_no_modules_import_each_other(imports):
    TopologicalSorter(imports).prepare()  # CycleError names the circle


def test_no_rooms_import_each_other(imports):
    rooms = defaultdict(set)
    for name, others in imports.items():
        if "." in name:
            rooms[name.split(".")[1]] |= {other.split(".")[1] for other in others if "." in other}
    TopologicalSorter({room: others - {room} for room, others in rooms.items()}).prepare()
