"""What a run leaves out is counted in its last line."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import left_out
import pytest

TESTS = Path(__file__).parent

SOME = """
import pytest

def test_runs(device):
    assert device.type == "cpu"

def test_means_something_on_a_card_only(card):
    raise AssertionError

@pytest.mark.parametrize("n", [1, 2])
def test_imports_what_is_missing(n):
    import rdkit

@pytest.mark.skip(reason="a reason of its own")
def test_is_skipped():
    pass

def test_fails():
    raise ImportError("molgeo.nowhere", name="molgeo.nowhere")
"""
WHOLE_MODULE = "import ase.build\n\ndef test_never_runs():\n    pass\n"


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_each_reason_is_counted(tmp_path, processes):
    (tmp_path / "test_some.py").write_text(SOME)
    (tmp_path / "test_whole.py").write_text(WHOLE_MODULE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "conftest.py").write_text("import ase.build\n")
    (tmp_path / "folder" / "test_in_a_folder.py").write_text("def test_never_runs():\n    pass\n")
    (tmp_path / "test_z_borrows.py").write_text("from test_whole import test_never_runs\n")
    arguments = ["--without", "rdkit", "--without", "ase", "--deselect", "test_some.py::test_runs"]
    if not processes:  # xdist runs nothing if anything cannot be imported
        (tmp_path / "test_broken.py").write_text("import misspelt_of_molgeo\n")
        arguments.append("--continue-on-collection-errors")
    # Its own configuration: that of the project would collect the project's tests.
    own = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    own += ["-c", os.devnull, "--rootdir", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "left_out", *own, *arguments, *processes],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    line = run.stdout.strip().splitlines()[-1]
    assert line.startswith("left out on cpu: ")
    for reason in (
        "2 × rdkit is not installed",
        "1 × needs --device cuda",
        "1 × a reason of its own",
        "3 × ase is not installed (whole modules or folders)",
        *([] if processes else ["1 × deselected"]),
    ):
        assert reason in line
    assert "1 failed, " in run.stdout
    assert "7 skipped" in run.stdout
    assert ("No module named 'misspelt_of_molgeo'" in run.stdout) is not bool(processes)


def test_nothing_is_said_to_be_nothing():
    assert left_out.what_was_left_out({}, "cuda") == "left out on cuda: nothing"


@pytest.mark.parametrize(
    ("device", "words"), [("tpu", "expected cpu or cuda, got tpu"), ("cuda", "no CUDA device here")]
)
def test_devices_that_are_not_there(device, words):
    config = SimpleNamespace(getoption=lambda name: device)
    with pytest.raises(pytest.UsageError, match=words):  # this test takes no device: it sees none
        left_out.pytest_configure(config)
