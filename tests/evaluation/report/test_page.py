import dataclasses

import numpy as np
import pytest
from bs4 import BeautifulSoup

from molgeo.evaluation.report.groups import Molecules
from molgeo.evaluation.report.page import WORST, Measured, worst, write_page
from molgeo.properties import Property
from molgeo.runtime.errors import InputError

GAP = Property("gap", "eV", description="the <gap>")
SMILES = ["CCO", "C", "c1ccccc1", "CC#N"] * 10


def measured(with_widths=True):
    rng = np.random.default_rng(0)
    labels = rng.normal(5.0, 1.0, len(SMILES))
    values = labels + rng.normal(0.0, 0.1, len(SMILES))
    labels[3] = np.nan
    widths = np.tile([0.1, 0.165], (len(SMILES), 1)) if with_widths else None
    return Measured(GAP, values, labels, widths)


def page(tmp_path, one, **more):
    numbers = [np.array([6, 1, 1]), np.array([6]), np.array([6, 6]), np.array([7, 6])] * 10
    errors = np.abs(one.errors[np.isfinite(one.errors)])
    result = {"model": "<b>m</b>", "data": "qm9", "n": len(SMILES), "failed": 0}
    result |= {"mae": {"gap_eV": errors.mean()}, "rmse": {"gap_eV": 0.2}, **more}
    write_page(tmp_path / "a.html", result, [one], Molecules(SMILES, numbers), {"gap_eV": 0.075})
    return BeautifulSoup((tmp_path / "a.html").read_text(), "html.parser"), errors


def cells(table):
    return [[one.get_text() for one in line.find_all(["th", "td"])] for line in table.select("tr")]


def test_a_page_of_errors(tmp_path):
    held = {"coverage": {"gap_eV": {"std": 0.68, "low90_high90": 0.912}}}
    soup, errors = page(tmp_path, measured(), **held)
    overview, size, element, group = soup.select("table.figures")
    mae = f"{errors.mean():.3g}"
    assert cells(overview)[1] == ["gap", "eV", mae, "0.2", "0.075", "68.0%", "91.2%"]
    assert [line[:2] for line in cells(size)[1:]] == [["1", "20"], ["2", "19"]]
    assert [line[:2] for line in cells(element)[1:]] == [
        ["with H", "10"],
        ["with C", "39"],
        ["with N", "9"],
    ]
    assert {line[0] for line in cells(group)[1:]} == {"alcohol", "nitrile", "aromatic carbons"}
    inside = np.isfinite(measured().errors) & (np.abs(measured().errors) <= 0.165)
    assert cells(element)[2][3] == f"{inside.sum() / 39:.0%}"
    assert len(soup.select("section.panel > svg")) == 3 + WORST
    assert soup.find("b") is None
    assert "gap: the <gap>" in soup.summary.get_text()
    assert soup.find_all("script") == []


def test_no_error_bar_of_a_page_leaves_the_range_of_its_property(tmp_path):
    mu = dataclasses.replace(GAP, minimum=0.0)
    n = len(SMILES)
    one = Measured(mu, np.full(n, 0.1), np.linspace(0, 1, n), np.tile([0.25, 0.5], (n, 1)))
    soup, _ = page(tmp_path, one)
    assert "predicted 0.10 (0 … 0.35)label 1" in soup.select_one(".bad").get_text()


def test_without_calibration_there_are_no_intervals(tmp_path):
    soup, _ = page(tmp_path, measured(with_widths=False))
    overview, size, *_ = soup.select("table.figures")
    assert cells(overview)[0][-1] == "mean absolute, card"
    assert [len(line) for line in cells(size)] == [3, 3, 3]
    assert "has no intervals" in soup.get_text()
    assert "Calibration" not in soup.get_text()


def test_the_worst_come_first():
    errors = np.array([0.1, -3.0, np.nan, 2.0, 0.0])
    assert worst(errors, 3).tolist() == [1, 3, 0]
    assert worst(errors).tolist() == [1, 3, 0, 4]


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        page(tmp_path / "no", measured())
