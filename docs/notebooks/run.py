"""Run the notebooks of this folder and keep their outputs: ``run.py [NAME …]``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path, folder: str) -> nbformat.NotebookNode:
    """A notebook with the outputs of a run in a folder.

    Raises:
        CellExecutionError: a cell failed.
    """
    for table in path.parent.glob("*.csv"):
        shutil.copy(table, folder)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": folder}},
    ).execute()
    return notebook


def main() -> None:
    """Run the notebooks that are named, or all."""
    here = Path(__file__).parent
    for path in sorted(here.glob("*.ipynb")):
        if len(sys.argv) < 2 or path.stem in sys.argv[1:]:
            with tempfile.TemporaryDirectory() as folder:
                notebook = run(path, folder)
            nbformat.write(notebook, path)
            print(path.name)


if __name__ == "__main__":
    main()
