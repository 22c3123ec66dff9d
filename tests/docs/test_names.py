"""What the pages name is there: files, and names of the package."""

import importlib
import re

import pytest
from doc_pages import PAGES, ROOT

_FILE = re.compile(
    r"`((?:[\w.-]+/)*[\w-]+\.(?:py|yaml|toml|cff)|(?:molgeo|benchmarks|tests|docs)/[\w/.-]+)`"
)
_NAME = re.compile(r"`(molgeo(?:\.\w+)+)`")
_FOLDERS = ("molgeo", "benchmarks", "tests", "docs", "configs", "checkpoints")

FILES = [
    f"/{path.relative_to(ROOT)}{'/' * path.is_dir()}"
    for path in [*ROOT.glob("*"), *(p for name in _FOLDERS for p in (ROOT / name).rglob("*"))]
]


def written_here(page):
    """Files that a page lets its reader write, beside those of a run."""
    return ["config.yaml", *re.findall(r'title="([^"]+)"', page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_and_names_of_a_page_are_there(page):
    text = page.read_text()
    known = [*FILES, *(f"/{name}" for name in written_here(page))]
    for name in set(_FILE.findall(text)):
        assert any(file.rstrip("/").endswith(f"/{name.rstrip('/')}") for file in known), name
    for name in set(_NAME.findall(text)):
        assert _resolves(name), name


def _resolves(name):
    """Whether a dotted name is a module, or an attribute of one; an operator is one of torch's."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_to_files(page):
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target
