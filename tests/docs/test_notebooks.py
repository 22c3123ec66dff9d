"""The notebooks run, and the outputs that are stored with them are of such a run."""

import importlib.util

import nbformat
import pytest
from doc_pages import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture
def run():
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run


def kinds_of_outputs(notebook):
    """Of each code cell the kinds of its outputs."""
    return [
        sorted({kind for output in cell.outputs for kind in output.get("data", ["text"])})
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.filterwarnings("default")  # of the kernel's connection, which is not molgeo's
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_outputs_are_stored(path, run, folder, monkeypatch):
    monkeypatch.delenv("MPLBACKEND")  # the kernel brings its own, which keeps figures
    stored = nbformat.read(path, as_version=4)
    assert all(cell.execution_count for cell in stored.cells if cell.cell_type == "code")
    assert kinds_of_outputs(run(path, str(folder))) == kinds_of_outputs(stored)
