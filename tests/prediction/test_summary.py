import pytest

from molgeo.prediction.summary import Tally, reason


def row(message=""):
    return {"status": "error" if message else "ok", "message": message}


def tally(*messages):
    made = Tally()
    for message in messages:
        made.add(row(message))
    return made


def test_failures_are_counted_by_reason():
    made = tally("", *["element Br is outside the model's domain: x"] * 2, "charge +1 is odd", "")
    line = made.line(5, 2.5)
    assert line == (
        "5 rows, 3 failed (2 element … is outside the model's domain; 1 charge … is odd); "
        "2 molecules/s"
    )
    assert made.n_failed == 3


def test_without_failures_and_with_rows_from_before():
    assert tally("").line(1, 0.5) == "1 row, none failed; 2 molecules/s"
    assert (
        tally(*[""] * 3).line(1, 1.0) == "3 rows, none failed, 2 of them from before; 1 molecules/s"
    )
    assert Tally().line(0, 1.0) == "0 rows, none failed"


def test_the_line_is_bounded():
    made = tally(*[f"{chr(97 + k) * 200}: x" for k in range(20)])
    line = made.line(20, 1.0)
    assert "15 for other reasons" in line
    assert len(line) < 500


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("element Br is outside the domain: a", "element Si is outside the domain: b"),
        ("atoms 2 (H), 3 (H) are 0.000 Å apart: give", "atoms 1 (C), 12 (O) are 0.123 Å apart: x"),
        ("charge +1 is outside", "charge -2 is outside"),
        ("not a valid SMILES: unclosed ring", "not a valid SMILES: no such element"),
        ("2 fragments: predict each on its own", "3 fragments: predict each on its own"),
        ("cannot read 'a.sdf': x", "cannot read 'b.sdf': y"),
        (
            "coordinates of atom 2 (H) are not finite numbers",
            "coordinates of atoms 1 (C), 2 (H) are not finite numbers",
        ),
    ],
)
def test_numbers_and_names_do_not_make_a_reason_of_their_own(first, second):
    assert reason(first).replace("atoms", "atom") == reason(second).replace("atoms", "atom")
    assert reason(first) not in ("", "…")


def test_other_reasons_stay_apart():
    kinds = ["not a valid SMILES: x", "no conformer: RDKit", "radical [CH3]", "C and H are missing"]
    assert len(set(map(reason, kinds))) == len(kinds)
    assert reason("") == "unknown reason"
