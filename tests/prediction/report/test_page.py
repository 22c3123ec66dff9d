import base64
import csv
import gzip
import json
import re

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from molgeo.prediction import sinks
from molgeo.prediction.command import run_predict
from molgeo.prediction.layout import Layout
from molgeo.prediction.report.page import ROWS_OF_A_BLOCK, RowPage
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.properties import Property
from molgeo.runtime.errors import InputError

MU = Property("mu", "D", "dipole", "μ", minimum=0.0)
NAMES = ["<b>ethanol</b>", "</script><script>alert(1)</script>", "=1+1", 'a "b", c', "bad"]
SMILES = ["CCO", "c1ccccc1", "O", "CC(=O)N", "C1CC"]


def row(k, **more):
    usual = {"id": k, "name": f"n{k}", "input": "CCO", "smiles": "CCO", "formula": "C2H6O"}
    usual |= {"n_atoms": 9, "geometry": "given", "stereo": "", "status": "ok", "message": ""}
    usual |= {"in_domain": True, "domain_reason": ""}
    return {**usual, "model": "toy", "mu_D": 1.25, "mu_D_std": 0.5, **more}


def rows_page(rows, **bounds):
    layout = Layout(list(rows[0]), {"mu_D": MU}, lambda row: {"mu_D": 2, "mu_D_std": 2})
    page = RowPage([("command", "molgeo predict")], layout, **bounds)
    for one in rows:
        page.add(one, "block" if one["status"] == "ok" else "")
    return BeautifulSoup(page.text(), "html.parser")


def table_of(soup):
    return json.loads(soup.find(id="table").string)


def blocks_of(soup):
    texts = [one.string for one in soup.find_all("script", id=re.compile("block-"))]
    return [one for text in texts for one in json.loads(gzip.decompress(base64.b64decode(text)))]


def test_values_have_their_errors_and_rows_their_flags():
    rows = [
        row(0, in_domain=True, domain_reason=""),
        row(1, mu_D=0.25, in_domain=False, domain_reason="far <from> it"),
        row(2, status="error", message="no", mu_D=None, mu_D_std=None, in_domain=None),
        row(3, mu_D_std=None, in_domain=True),
    ]
    soup = rows_page([dict.fromkeys(rows[0]) | one for one in rows])
    table = table_of(soup)
    assert [shown for _, shown, _ in table["rows"]] == [
        ["1.25 ± 0.50"],
        ["0.25 (0 … 0.75)"],  # no dipole is below zero
        [""],
        ["1.25"],
    ]
    assert [kind for *_, kind in table["rows"]] == ["", "outside", "error", ""]
    assert "Blue: inside the model's domain" in soup.get_text()
    assert len(soup.select("#histograms svg")) == 1
    assert "4 rows, 1 failed" in soup.get_text()
    assert "1 of 4 rows is outside the domain of toy" in soup.get_text()


def test_without_flags_there_is_one_colour():
    soup = rows_page([row(0)])
    assert table_of(soup)["rows"][0][2] == ""
    assert "Blue" not in soup.get_text()
    assert soup.select("p.notice") == []


def test_a_row_without_any_number_needs_no_histogram():
    soup = rows_page([row(0, status="error", message="no", mu_D=None, mu_D_std=None)])
    assert soup.find(id="histograms") is None


def test_drawings_and_structures_are_in_blocks():
    n = 2 * ROWS_OF_A_BLOCK + 3
    rows = [row(k) for k in range(n - 1)] + [row(n, status="error", message="no", mu_D=None)]
    soup = rows_page(rows)
    table, drawn = table_of(soup), blocks_of(soup)
    assert (table["drawn"], table["block"], len(drawn)) == (n, ROWS_OF_A_BLOCK, n)
    assert drawn[0][0].startswith("<svg")
    assert drawn[0][1] == "block"
    assert drawn[-1] == ["", ""]
    assert soup.select("p.notice") == []


def test_what_is_left_out_is_said():
    rows = [row(k) for k in range(5 * ROWS_OF_A_BLOCK)]
    soup = rows_page(rows, most_of_drawings=100)
    assert table_of(soup)["drawn"] == len(blocks_of(soup)) == ROWS_OF_A_BLOCK
    (said,) = (one.get_text() for one in soup.select("p.notice"))
    assert said.startswith(f"The first {ROWS_OF_A_BLOCK} rows have drawings and structures")
    soup = rows_page(rows, most_of_rows=1000)
    shown = len(table_of(soup)["rows"])
    assert 1 <= shown < 20
    assert (
        soup.select("p.notice")[0]
        .get_text()
        .startswith(f"The table shows the first {shown} of 100 rows")
    )
    assert "100 rows" in soup.get_text()


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{smiles} {name}\n" for smiles, name in zip(SMILES, NAMES, strict=True)]
    (tmp_path / "in.smi").write_text("".join(lines))
    return tmp_path


def predicted(model, output="out.csv", source="in.smi", **more):
    settings = PredictSettings(model, properties="gap,mu", conformers=1)
    return run_predict([source], settings, OutputSettings(output, report="out.html", **more))


def undated(path):
    return re.sub(r'"row">date</th><td>.*?</td>', "", path.read_text())


def test_the_numbers_are_those_of_the_csv(source, shipped):
    assert predicted(shipped) == 3
    soup = BeautifulSoup((source / "out.html").read_text(), "html.parser")
    table = table_of(soup)
    with open("out.csv", newline="") as file:
        head, *lines = csv.reader(file)
    assert table["columns"] == head
    inert = {tuple(one) for one in table["inert"]}
    cells = [
        [f"'{cell}" if (k, c) in inert else cell for c, cell in enumerate(texts)]
        for k, (texts, *_) in enumerate(table["rows"])
    ]
    assert cells == lines
    assert inert == {(2, head.index("name"))}  # =1+1
    frame = pd.read_csv("out.csv")
    for one in table["outputs"]:
        name = head[one["column"]]
        shown = [texts[one["column"]] for texts, *_ in table["rows"]]
        assert [float(text) if text else None for text in shown[:4]] == frame[name][:4].tolist()
    assert [texts[head.index("name")] for texts, *_ in table["rows"]] == NAMES
    drawn = blocks_of(soup)
    assert all("V2000" in block and "<svg" in flat for flat, block in drawn[:4])
    assert drawn[4] == ["", ""]
    assert "sha256" in soup.get_text()


def test_standard_output_has_the_same_page(source, shipped, capsys):
    assert predicted(shipped, force=True) == 3
    whole = undated(source / "out.html")
    assert predicted(shipped, output=None, force=True) == 3
    streamed = undated(source / "out.html")
    assert streamed == whole.replace("--output out.csv ", "")
    assert capsys.readouterr().out == (source / "out.csv").read_text()


def test_a_run_that_goes_on_makes_the_same_page(source, shipped, monkeypatch):
    from molgeo.prediction import run as module

    monkeypatch.setattr(module, "_FIRST_WINDOW", 2)
    assert predicted(shipped) == 3
    whole = undated(source / "out.html")
    for name in ("out.csv", "out.html"):
        (source / name).unlink()
    write, written = sinks.WholeFile.write, []

    def stopped(self, window):
        write(self, window)
        written.append(len(window))
        raise KeyboardInterrupt

    monkeypatch.setattr(sinks.WholeFile, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        predicted(shipped)
    assert not (source / "out.html").exists()
    monkeypatch.undo()
    monkeypatch.chdir(source)
    assert predicted(shipped, resume=True) == 3
    assert written == [2]
    assert undated(source / "out.html") == whole


def test_a_page_that_may_not_be_written(source, shipped):
    (source / "out.html").write_text("mine")
    with pytest.raises(InputError, match=r"out\.html exists: --force replaces it"):
        predicted(shipped)
    for name, message in (
        ("out.pdf", "--report out.pdf: expected a name that ends in .html or .htm"),
        ("no/out.html", "there is no folder"),
    ):
        with pytest.raises(InputError, match=message):
            run_predict(["CCO"], PredictSettings(shipped), OutputSettings(report=name))
    assert (source / "out.html").read_text() == "mine"
