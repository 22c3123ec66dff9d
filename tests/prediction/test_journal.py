import json

import pytest

from molgeo.prediction.journal import Entry, Journal, journal_path, n_started
from molgeo.prediction.rows import Answer, Done
from molgeo.runtime.errors import InputError

REASONS = ("size (99%)", "a bond (in none)")
ABOUT = {"inputs": ["a.smi"], "properties": "gap"}


def entry(k, status="ok", name="é\ud800\n"):
    row = {"id": k, "name": name, "status": status}
    if status == "ok":
        row |= {"model": "own", "gap_eV": k + 1 / 3}
        row |= {"domain_reason": "size (99%); a bond (in none)"}
    return Entry(row, f"mark{k}", f"key{k}", [-1 / 3, 0.1], "block", "conformers\ud800")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.csv"


def started(output, windows=((0, 1), (2,))):
    journal = Journal(output, ABOUT)
    for window in windows:
        journal.add([entry(n) for n in window])
    journal.close()
    return journal.path


def test_rows_are_read_back_exactly(output):
    started(output)
    journal = Journal(output, ABOUT, resume=True)
    assert journal.n_rows == 3
    assert list(journal.entries()) == [entry(0), entry(1), entry(2)]
    journal.add([entry(3, "error")])
    journal.close()
    journal = Journal(output, ABOUT, resume=True)
    assert journal.n_rows == 4
    journal.remove()
    assert not journal.path.exists()


def test_what_a_run_needs_to_go_on():
    assert entry(1).done(["gap_eV"]) == Done(
        "mark1", "key1", Answer("own", {"gap_eV": 1 + 1 / 3}, [-1 / 3, 0.1], REASONS)
    )
    assert entry(1, "error").done(["gap_eV"]).answer is None


def test_whatever_is_torn_is_cut_off(output):
    path = started(output)
    whole = path.read_bytes()
    first = whole.index(b'{"rows": 2')
    after_first = whole.index(b"\n", first) + 1
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        expected = 0 if cut < after_first else 2
        assert n_started(output) == expected
        if cut % 17 == 0:
            journal = Journal(output, ABOUT, resume=True)
            assert journal.n_rows == expected
            assert [e.row["id"] for e in journal.entries()] == list(range(expected))
            journal.close()
            head = path.read_bytes().splitlines(keepends=True)[0]
            assert json.loads(head)["properties"] == "gap"
            assert path.read_bytes() == whole[: after_first if expected else len(head)]


def test_rows_are_not_lost_without_a_word(output):
    path = started(output)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"holds the first 3 rows .* --resume goes on.* --force"):
        Journal(output, ABOUT)
    assert path.read_bytes() == before
    journal = Journal(output, ABOUT, force=True)
    assert journal.n_rows == 0
    journal.close()


def test_a_journal_of_another_version_is_refused(output):
    path = started(output)
    path.write_bytes(path.read_bytes().replace(b'"molgeo journal": 3', b'"molgeo journal": 1'))
    with pytest.raises(InputError, match="molgeo journal was 1 and is 3 now; --force starts anew"):
        Journal(output, ABOUT, resume=True)


def test_a_journal_of_another_run_is_refused(output):
    path = started(output)
    before = path.read_bytes()
    with pytest.raises(InputError, match="another run: properties was 'gap' and is 'mu' now"):
        Journal(output, ABOUT | {"properties": "mu"}, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["precious\n", "precious", "{", '{"molgeo": 1}\n', "\n"])
def test_another_file_in_its_place_is_left_alone(output, content):
    path = journal_path(output)
    path.write_text(content)
    if content == "{":  # as a journal begins: a run that was killed at its first byte
        Journal(output, ABOUT).close()
        return
    for settings in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(InputError, match="is in the way, and no journal of molgeo: move it"):
            Journal(output, ABOUT, **settings)
    assert path.read_text() == content


def test_two_processes_do_not_share_it(output):
    journal = Journal(output, ABOUT)
    with pytest.raises(InputError, match="another process is writing it"):
        Journal(output, ABOUT, resume=True)
    journal.close()


def test_without_a_journal_nothing_is_started(output):
    assert n_started(output) == 0
