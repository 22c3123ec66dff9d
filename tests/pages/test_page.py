import base64
import gzip
import hashlib
import json
import re

import pytest
from bs4 import BeautifulSoup

from molgeo.pages.page import packed, render, write
from molgeo.runtime.errors import InputError

HOSTILE = [
    "<b>bold</b>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--",
    "{{ 7 * 7 }} &amp; 'single' \"double\"",
    "a\0b\x1b[31m\u202egnp.exe\u2028",
]


def page(table=None, about=(), **values):
    return render(
        "molgeo.prediction.report",
        "predictions.html",
        ["3Dmol-min.js", "table-core.js", "viewer.js", "table.js", "predictions.js"],
        **{
            "summary": "1 row",
            "left_out": [],
            "histograms": [],
            "has_outside": False,
            "outside": "",
        }
        | {"about": about, "table": table or {}, "blocks": [], **values},
    )


def test_hostile_text_is_text():
    text = page({"rows": HOSTILE}, [("command", one) for one in HOSTILE], left_out=HOSTILE)
    soup = BeautifulSoup(text, "html.parser")
    assert soup.find_all(["img", "b"]) == []
    assert len(soup.find_all("script")) == 1 + 5  # data, and those of the page
    assert json.loads(soup.find(id="table").string) == {"rows": HOSTILE}
    shown = [one.get_text() for one in soup.select("table.facts td")]
    assert shown[:5] == HOSTILE[:5]
    assert shown[5] == r"a\x00b\x1b[31m\u202egnp.exe"
    assert [one.get_text() for one in soup.select("p.notice")][1] == HOSTILE[1]


def test_a_browser_runs_the_scripts_of_the_page_and_loads_nothing():
    soup = BeautifulSoup(page(), "html.parser")
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = set(re.findall(r"'sha256-(.*?)'", policy))
    scripts = [one.string for one in soup.find_all("script") if not one.get("type")]
    digests = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts}
    assert allowed == digests
    assert "unsafe-inline" not in policy.split(";")[1]
    for one in soup.find_all(True):
        assert not {"src", "srcset", "data", "onclick", "onerror"} & one.attrs.keys()
        assert not str(one.get("href", "#")).startswith(("http", "//"))
    assert "url(" not in "".join(one.get_text() for one in soup.find_all("style"))


def test_licences_go_with_the_scripts_of_others():
    text = page()
    assert "University of Pittsburgh" in text
    assert "Tanner Linsley" in text


def test_packed_values_come_back():
    value = [["<svg>", "é\ud800"], None, 1.5]
    text = packed(value)
    assert re.fullmatch(r"[\w+/=]+", text)
    assert json.loads(gzip.decompress(base64.b64decode(text))) == value
    assert text == packed(value)


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.html"
    write(path, "half a character: \ud800")
    assert path.read_text() == r"half a character: \ud800"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match=r"no/a\.html cannot be written"):
        write(tmp_path / "no" / "a.html", "x")
