"""The table of sources is learned from a few molecules, written, and tells them apart again."""

import json
from pathlib import Path

import numpy as np

from benchmarks import geometry_sources as bench
from molgeo.chem import geometry_source

RECORD = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "geometry_sources.json").read_text("utf-8")
)


def minima(source):
    numbers = map(np.array, RECORD["z"])
    return list(zip(numbers, map(np.array, RECORD[source]), strict=True))


def test_a_table_is_learned_written_and_used(tmp_path, monkeypatch):
    own, other, third = (
        bench.noisy(minima(source) * 12, 0.001, 0.001, seed)
        for seed, source in enumerate(("dft", "mmff94", "gfn2"))
    )
    table = bench.table_of(own, other, list(zip(own, third, strict=True)))
    assert (np.diff(table.codes.astype(float)) > 0).all()
    assert table.mean.shape == table.width.shape == (len(table.codes), 3)
    samples = [(0, own), (1, other), (2, third), (3, bench.noisy(own, 0.03, 0.1, 3))]
    short = [(z, 0.9957 * pos) for z, pos in own]
    bench.write(bench.with_weights(table, [*samples, (4, short)]), tmp_path / "table.npz")
    learned = geometry_source.read_sources(tmp_path / "table.npz")
    monkeypatch.setattr(geometry_source, "_table", lambda: learned)
    for source, wanted in zip(("dft", "mmff94", "gfn2"), geometry_source.SOURCES, strict=False):
        assert geometry_source.judge(*bench.flat(minima(source))) == [wanted] * len(RECORD["z"])


def test_minima_that_were_made_are_kept(tmp_path):
    kept = {"row": 5, "ok": True, "z": [1, 1], "pos": [[0, 0, 0], [0, 0, 0.74]]}
    lost = {"row": 7, "ok": False, "z": [1, 1], "pos": [[0, 0, 0], [0, 0, 0.74]]}
    lines = "".join(json.dumps(one) + "\n" for one in (kept, lost))
    (tmp_path / "gfn2.jsonl").write_text(lines)
    found = bench.made(None, [7, 5, 9], "gfn2", tmp_path, most=0)
    assert list(found) == [5]
    np.testing.assert_array_equal(found[5][1], kept["pos"])
