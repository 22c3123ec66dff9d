"""The table of file formats."""

import pkgutil
from pathlib import Path

import pytest

from molgeo.chem.files.formats import FORMATS, ReadOptions, by_ending, ending_of, format_of


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_names_a_reader_that_exists(name):
    assert callable(pkgutil.resolve_name(FORMATS[name].reader))


def test_no_two_formats_share_an_ending():
    endings = [ending for one in FORMATS.values() for ending in one.endings]
    assert len(endings) == len(set(endings))


def test_text_may_be_gzipped():
    assert {name for ending, name in by_ending().items() if ending.endswith(".gz")} == {
        name for name, one in FORMATS.items() if one.is_text
    }


@pytest.mark.parametrize(
    ("name", "ending", "format"),
    [
        ("a.SDF", ".sdf", "sdf"),
        ("a.b.xyz.gz", ".xyz.gz", "xyz"),
        ("POSCAR", ".poscar", "poscar"),
        ("contcar.gz", ".contcar.gz", "poscar"),
        ("CCO", "", None),
        ("a.db.gz", ".db.gz", None),
    ],
)
def test_endings(name, ending, format):
    assert ending_of(Path(name)) == ending
    assert format_of(Path(name)) is FORMATS.get(format)


def test_what_a_user_says_counts_more_than_the_ending():
    assert format_of(Path("a.csv"), ReadOptions(input_format="smi")) is FORMATS["smi"]
