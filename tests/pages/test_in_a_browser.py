"""The pages of predictions, of errors and of a fit, opened and clicked through in a browser."""

import csv
import itertools

import browser
import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molgeo.evaluation.report.groups import Molecules
from molgeo.evaluation.report.page import Measured, write_page
from molgeo.fitting.outcome import FitTarget, Outcome
from molgeo.fitting.report.page import write_page as write_fit
from molgeo.prediction.layout import Layout
from molgeo.prediction.report.page import RowPage
from molgeo.prediction.rows import ROW_COLUMNS
from molgeo.properties import Property

WIDTHS = (1280, 390)
GAP = Property("gap", "eV", description="the <gap>", minimum=0.0)
MU = Property("mu", "D", "dipole", "μ", minimum=0.0)
SMILES = ["CCO", "c1ccccc1", "CC(N)=O", "C1CC", "CC#N", "COC", "CCC", "C=C"]
NAMES = [
    "<b>bold</b><img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\"double\" 'single' `back` &amp; <!--",
    "bad",
    "\u202egnp.exe\x1b[31m\ud800",
    "=1+1",
    "{{ 7 * 7 }} ${7 * 7}",
    "plain",
]
SHOWN = [*NAMES[:4], "\\u202egnp.exe\\u001b[31m\\ud800", *NAMES[5:]]
"""Names as a page shows them: what would turn text around or is no character is an escape."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.find() is None:
        pytest.skip(browser.NONE)
    with browser.Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def test_what_a_page_does_wrong_is_noticed(chromium, tmp_path):
    wrong = (
        "console.error('bad')",
        "throw new Error('thrown')",
        "document.write('<img src=http://127.0.0.1:9/a.png>')",
    )
    for script in ("1", *wrong):
        path = tmp_path / "a.html"
        path.write_text(f"<!doctype html><p>one<script>{script}</script>")
        page = chromium.page(390)
        page.open(path)
        assert bool(page.complaints()) is (script in wrong)


def rows():
    """Thirty rows, two of them outside the domain and one in four bad."""
    for k, (smiles, name) in zip(range(30), itertools.cycle(zip(SMILES, NAMES, strict=True))):
        is_bad = name == "bad"
        row = dict.fromkeys(ROW_COLUMNS, "")
        row |= {"id": k, "name": name, "input": f"in.smi:{k}", "smiles": smiles, "model": "toy"}
        row |= {"geometry": "etkdg+mmff", "n_atoms": 9, "formula": "X"}
        row |= {"status": "error" if is_bad else "ok", "message": "unclosed ring" * is_bad}
        row |= {"in_domain": None if is_bad else k not in (1, 9)}
        row |= {"domain_reason": "rare bond <i>X</i> (in none)" if k in (1, 9) else ""}
        gap, mu = (None, None) if is_bad else (5.0 + (7 * k) % 11, 0.1 * (k % 5))
        row |= {"gap_eV": gap, "gap_eV_std": gap and 0.25, "mu_D": mu, "mu_D_std": None}
        yield row | ({} if is_bad else {"mu_D_std": 0.25})


def structure(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return Chem.MolToMolBlock(mol)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "predictions.html"
    all_rows = list(rows())
    digits = dict.fromkeys(all_rows[0], 2)
    layout = Layout(list(all_rows[0]), {"gap_eV": GAP, "mu_D": MU}, lambda row: digits)
    page = RowPage([("command", f"molgeo predict {name}") for name in NAMES], layout)
    for row in all_rows:
        page.add(row, "" if row["status"] == "error" else structure(row["smiles"]))
    path.write_text(page.text(), errors="backslashreplace")
    return path


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "errors.html"
    rng = np.random.default_rng(0)
    smiles = [one for one in SMILES if one != "C1CC"] * 10
    n = len(smiles)
    labels = rng.normal(5.0, 1.0, n)
    values, widths = labels + rng.normal(0.0, 0.1, n), np.tile([0.1, 0.165], (n, 1))
    numbers = [np.array([6, 8, 1])] * n
    measured = [Measured(one, values, labels, widths) for one in (GAP, MU)]
    result = {"model": NAMES[1], "data": NAMES[0], "n": n, "failed": 0, "mae": {}, "rmse": {}}
    write_page(path, result, measured, Molecules(smiles, numbers), {})
    return path


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "fit.html"
    rng = np.random.default_rng(0)
    smiles = [one for one in SMILES if one != "C1CC"] * 6
    value = rng.normal(5.0, 1.0, len(smiles))
    of = FitTarget.of(GAP)
    ends = {"value": value, "predicted": value + rng.normal(0, 0.1, len(smiles)), "mean": 5.0}
    ends |= {"baseline": value + rng.normal(0, 0.1, len(smiles)), "std": 0.1}
    ends |= {"low90": value - 0.2, "high90": value + 0.2}
    table = {"name": NAMES[0], "smiles": smiles, "n_heavy": 3, "domain_reason": NAMES[1]}
    table["part"] = ["test" if k % 3 else "fold 1" for k in range(len(smiles))]
    frame = pd.DataFrame(table | {f"{of.column}_{end}": one for end, one in ends.items()})
    history = pd.DataFrame({"member": 1, "step": [1, 2], "validation_error": [1.0, 0.5]})
    write_fit(path, Outcome.of(frame, history, [of], {"data": NAMES[0]}, NAMES))
    return path


def opened(chromium, path, width, dark=False):
    page = chromium.page(width, dark=dark)
    page.open(path)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.run(overflow) == 0, "the page is wider than the screen"
    assert page.run("getComputedStyle(document.body).fontSize") == "15px"
    return page


def column(page, name):
    """Numbers of a column as the rows stand; None if a row has none."""
    cells = f"[...document.querySelectorAll('td[data-label^=\"{name} \"]')]"
    shown = page.run(f"{cells}.map((one) => one.textContent)")
    return [None if one == "–" else float(one.split()[0]) for one in shown]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_predictions_sorts_searches_and_turns(chromium, predictions, width):
    page = opened(chromium, predictions, width, dark=width == 390)
    page.until("document.querySelectorAll('.drawing svg').length > 10")
    known = sorted(one["gap_eV"] for one in rows() if one["gap_eV"] is not None)
    for expected in (known[:25], known[::-1][:25]):
        page.click("document.querySelector('button.sort[data-column=gap]')")
        assert column(page, "gap") == expected
        assert page.run("document.activeElement.dataset.column") == "gap"
    page.click("document.querySelector('[aria-label=\"next page\"]')")
    assert column(page, "gap") == [*known[::-1][25:], *[None] * (30 - len(known))][: 30 - 25]
    page.click("document.querySelector('input[type=search]')")
    page.call("Input.insertText", text="</SCRIPT>")
    page.until("document.querySelectorAll('.rows tbody tr').length === 4")
    labels = page.run(
        "[...document.querySelectorAll('td.label button')].map((one) => one.textContent)"
    )
    assert labels == [SHOWN[1]] * 4
    assert page.complaints() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_opens_its_structure_and_numbers(chromium, predictions, width):
    page = opened(chromium, predictions, width)
    names = page.run("[...document.querySelectorAll('td.label button')].map((b) => b.textContent)")
    assert names == [SHOWN[k % len(SHOWN)] for k in range(25)]
    page.click("document.querySelectorAll('td.label button')[1]")
    page.until("document.querySelector('#viewer canvas')?.width > 100")
    assert page.run("document.querySelector('#one').open")
    assert page.run("document.querySelector('#one-name').textContent") == SHOWN[1]
    note = page.run("document.querySelector('#one-note').textContent")
    assert note == "outside the domain: rare bond <i>X</i> (in none)"
    shown = page.run("document.querySelector('#one-values').innerText")
    assert "± 0.25 eV" in shown
    assert "0.10 (0 … 0.35) D" in shown
    page.click("document.querySelector('#after')")
    page.until(f"document.querySelector('#one-name').textContent === {SHOWN[2]!r}")
    page.click("document.querySelector('#after')")
    page.until("document.querySelector('#one-note').textContent === 'error: unclosed ring'")
    page.until("document.querySelector('#viewer').hidden")
    page.press("Escape")
    assert not page.run("document.querySelector('#one').open")
    # Nothing of a name became an element.
    assert page.run("document.querySelectorAll('b, i, td img').length") == 0
    assert page.complaints() == []


def test_the_csv_of_the_page_is_that_of_the_output(chromium, predictions, tmp_path):
    page = opened(chromium, predictions, 1280)
    folder = str(tmp_path)
    chromium.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=folder)
    page.click("document.querySelector('#csv')")
    path = tmp_path / "predictions.csv"
    page.until_there(path)
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        head, *lines = csv.reader(file)
    assert len(lines) == 30
    names = [line[head.index("name")] for line in lines]
    assert names[:4] == NAMES[:4]
    assert names[5] == "'=1+1"
    assert lines[0][head.index("gap_eV")] == "5.00"
    assert page.complaints() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_errors_opens_its_properties(chromium, errors, width):
    page = opened(chromium, errors, width)
    sections = "document.querySelectorAll('details.property')"
    assert page.run(f"[...{sections}].map((one) => one.open)") == [True, False]
    page.click(f"{sections}[1].querySelector('summary')")
    assert page.run(f"[...{sections}].map((one) => one.open)") == [True, True]
    assert page.run("document.documentElement.scrollWidth") == width
    drawn = "[...document.querySelectorAll('.panel svg')].filter((one) => one.clientWidth > 50)"
    assert page.run(f"{drawn}.length") == 2 * (3 + 20)
    facts = page.run("document.querySelector('table.facts').innerText")
    assert NAMES[1] in facts
    assert NAMES[0] in facts
    assert page.run("document.querySelectorAll('b, img').length") == 0
    assert page.complaints() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_fit(chromium, fit, width):
    page = opened(chromium, fit, width, dark=width == 390)
    drawn = "[...document.querySelectorAll('.panel svg')].filter((one) => one.clientWidth > 50)"
    assert page.run(f"{drawn}.length") == 4 + 1 + 10
    assert NAMES[1] in page.run("document.body.innerText")
    assert page.run("document.querySelectorAll('b, img, script').length") == 0
    assert page.complaints() == []


def test_pages_print(chromium, predictions, errors, fit, tmp_path):
    for path in (predictions, errors, fit):
        page = opened(chromium, path, 1280)
        page.pdf(tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
        printed = chromium.page(718)  # A4 with Chromium's margins
        printed.open(path)
        printed.call("Emulation.setEmulatedMedia", media="print")
        assert printed.run("document.documentElement.scrollWidth") == 718
        shown = "[...document.querySelectorAll('td.label')].map((one) => one.innerText)"
        names = printed.run(shown)
        assert all(name in text for name, text in zip(itertools.cycle(SHOWN), names))
        assert len(names) == (25 if path is predictions else 0)
        titles = "[...document.querySelectorAll('details.property h2')]"
        assert printed.run(f"{titles}.every((one) => one.clientHeight)")  # folded ones too
        assert page.complaints() == []
