"""The splits of the benchmark of fits, and its table."""

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from fit import errors, lines, parts

SMILES = [f"{'C' * k}{end}" for k in range(1, 21) for end in ("O", "c1ccccc1", "C1CCNCC1")]


@pytest.mark.parametrize("kind", ["scaffold", "random"])
def test_parts_are_of_their_size_and_no_molecule_is_in_two(kind):
    smiles = (
        SMILES + SMILES[:5] if kind == "random" else [f"C{'1CC' + 'C' * k}C1" for k in range(60)]
    )
    found = parts(smiles, kind, seed=1)
    n = Counter(found)
    assert n["val"] == n["test"] == round(0.1 * len(smiles))
    assert n["train"] == len(smiles) - n["val"] - n["test"]
    of = dict(zip(smiles, found, strict=True))
    assert all(of[one] == part for one, part in zip(smiles, found, strict=True))
    assert parts(smiles, kind, seed=1) == found != parts(smiles, kind, seed=2)


def test_a_scaffold_is_in_one_part_and_a_large_one_in_training():
    found = parts(SMILES, "scaffold", seed=0)
    assert {part for one, part in zip(SMILES, found, strict=True) if "c1" in one} == {"train"}
    for ring in ("c1ccccc1", "C1CCNCC1"):
        own = {part for one, part in zip(SMILES, found, strict=True) if one.endswith(ring)}
        assert len(own) == 1


def test_the_table_has_means_over_the_seeds_of_all_methods():
    one = errors([1.0, 2.0], [2.0, 2.0]) | {"seconds": 2.0, "cpu_seconds": 1.0, "inside": 0.5}
    other = errors([1.0, 2.0], [4.0, 2.0]) | {"seconds": 4.0, "cpu_seconds": 3.0, "inside": 1.0}
    known = {f"esol_random_{seed}_molgeo": told for seed, told in enumerate((one, other))}
    assert lines(known)[2:] == [
        "| esol, random | 2 | molgeo | 1.414 ± 0.707 | 1.000 | 75% | 3 | 2 |"
    ]
    known["esol_random_0_chemprop"] = errors([1.0], [1.5]) | {"seconds": 9.0}
    assert lines(known)[2:] == [
        "| esol, random | 1 | chemprop | 0.500 ± 0.000 | 0.500 |  | 9 |  |",
        "| esol, random | 1 | molgeo | 0.707 ± 0.000 | 0.500 | 50% | 2 | 1 |",
    ]
