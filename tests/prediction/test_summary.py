import pytest

from molgeo.prediction.summary import Tally, kind_and_example, reason


def row(message="", reason="", model="m"):
    status = "error" if message else "ok"
    is_in = None if message else not reason
    row = {"status": status, "message": message, "in_domain": is_in}
    return row | {"domain_reason": reason, "model": model}


def tally(*messages):
    made = Tally()
    for message in messages:
        made.add(row(message))
    return made


def test_failures_are_counted_by_reason():
    made = tally("", *["element Br is outside the model's domain: x"] * 2, "charge +1 is odd", "")
    line = made.line(5, 2.5)
    assert line == (
        "5 rows, 3 failed (2 element … is outside the model's domain; 1 charge … is odd), "
        "none outside the domain; 2 molecules/s"
    )
    assert made.n_failed == 3


def test_without_failures_and_with_rows_from_before():
    assert tally("").line(1, 0.5) == "1 row, none failed, none outside the domain; 2 molecules/s"
    assert tally(*[""] * 3).line(1, 1.0) == (
        "3 rows, none failed, none outside the domain, 2 of them from before; 1 molecules/s"
    )
    assert Tally().line(0, 1.0) == "0 rows, none failed"


def test_values_without_error_bars_are_told():
    made = Tally(["gap_eV_std"])
    for k, (std, message) in enumerate([(0.1, ""), (None, ""), (None, ""), (None, "no")]):
        geometry = {"geometry": "given" if k == 1 else "etkdg+mmff"}
        made.add(row(message) | geometry | {"gap_eV_std": std})
    assert "2 without error bars, as none were measured for such coordinates (" in made.line(4, 1)


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


BOND = "rare bond N(H)-N(H) (in none of 110,000 training molecules)"
SIZE = "far more atoms than any training molecule (113, the largest has 29)"


def test_the_first_line_says_how_many_are_outside_and_why_most_are():
    made = tally("", "radical", "")
    assert made.outside() == ""
    made.add(row(reason=SIZE))
    assert made.outside() == (
        "1 of 4 rows is outside the domain of m, so its numbers may be far off; "
        "reason: far more atoms than any training molecule"
    )
    for _ in range(2):
        made.add(row(reason=f"{BOND}; {BOND}", model="n"))
    assert made.outside() == (
        "3 of 6 rows are outside the domain of m and n, so their numbers may be far off; "
        "commonest reason (2 rows): rare bond, such as N(H)-N(H)"
    )
    assert "none outside" not in made.line(6, 1.0)


@pytest.mark.parametrize(
    ("phrase", "kind", "example"),
    [
        (BOND, "rare bond", "N(H)-N(H)"),
        (SIZE, "far more atoms than any training molecule", ""),
        ("rare atom N bonded to N alone (in 2 of 9)", "rare atom", "N bonded to N alone"),
        ("Δ is odd (99.9%)", "Δ is odd", ""),
    ],
)
def test_a_phrase_is_a_kind_and_an_example(phrase, kind, example):
    assert kind_and_example(phrase) == (kind, example)
