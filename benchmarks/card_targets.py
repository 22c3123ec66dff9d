"""What steps on a card are meant to cost, and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
Found = Callable[..., Row | None]

BUSY = 0.85
"""Part of a run's step for which the card should work."""

FACTORS = {
    "schnet": dict.fromkeys(("infer", "train", "forces", "force_train"), 2.0),
    "dimenet_pp": {"infer": 3.0, "train": 3.0, "force_train": 3.0},
}
"""Model and mode → how many times as long PyG should take."""


def verdicts(rows: Sequence[Row], tests: Sequence[str], on_card: bool) -> list[str]:
    """A line for each target: met, not met, or not run.

    Args:
        rows: of the report.
        tests: what came of them.
        on_card: False if there was no card, where no target means anything.
    """
    if not on_card:
        return ["not run: all targets, which are of a card"]

    def find(what: str, mode: str, batch: int, side: str = "molgeo", edges: str = "") -> Row | None:
        wanted = {"what": what, "mode": mode, "batch": batch, "side": side}
        fitting = (r for r in rows if wanted.items() <= r.items() and r["edges"].endswith(edges))
        return next(fitting, None)

    passed = next((text for text in tests if text.startswith("tests: ")), "tests: not run")
    lines = [f"{'met' if 'passed' in passed else 'not met'}: pytest --device cuda ({passed})"]
    lines += _of_runs(find)
    for model, factors in FACTORS.items():
        for mode, factor in factors.items():
            for batch in (32, 128):
                lines += _beside_pyg(find, model, mode, batch, factor)
    lines += [
        _at_most("ethanol's step through ASE", find("ethanol", "md by ASE", 1), 1.5),
        _at_most("a step of 648 atoms", find("water, 216", "md", 1), 4.0),
    ]
    many, alone = find("relaxation", "relax", 1024), find("relaxation", "relax", 1)
    ratio = many["steps_per_s"] / alone["steps_per_s"] if many and alone else None
    return [*lines, _at_least("1,024 molecules relaxed together, steps per second", ratio, 200.0)]


def _of_runs(find: Found) -> list[str]:
    lines = []
    for config, limit in (("spectrum_net_qm9", 7.0), ("dimenet_pp_qm9", 11.0)):
        row = find(config, "run", 128)
        lines.append(_at_most(f"{config}, batch 128", row, limit))
        busy = row["busy_ms"] / row["step_ms"] if row else None
        lines.append(_at_least(f"{config}, batch 128, the card busy", busy, BUSY, "of a step"))
    row = find("dimenet_pp_qm9, published", "run", 128)
    name = "QM9 epoch of the published DimeNet++, batch 128"
    return [*lines, _at_most(name, row, 15.0, "epoch_s", "s")]


def _beside_pyg(find: Found, model: str, mode: str, batch: int, factor: float) -> list[str]:
    """PyG with given edges, the faster way, beside molgeo's replayed step."""
    ours = find(model, mode, batch, edges="replayed")
    theirs = find(model, mode, batch, "PyG", "given")
    own = find(model, mode, batch, "PyG", "found")
    name = f"{model}, {mode}, batch {batch}"
    if not (ours and theirs and own):
        return [f"not run: {name} beside PyG"]
    with_own = own["step_ms"] / ours["step_ms"]
    unit = f"of molgeo's time for PyG with given edges ({with_own:.2f} with its own)"
    lines = [_at_least(name, theirs["step_ms"] / ours["step_ms"], factor, unit)]
    part = ours["peak_mb"] / theirs["peak_mb"]
    lines.append(f"{'met' if part <= 0.5 else 'not met'}: {name}, memory {part:.2f} ≤ 0.5 of PyG's")
    return lines


def _at_most(
    name: str, row: Row | None, limit: float, key: str = "step_ms", unit: str = "ms"
) -> str:
    if row is None:
        return f"not run: {name} ≤ {limit:g} {unit}"
    return f"{'met' if row[key] <= limit else 'not met'}: {name}, {row[key]:.2f} ≤ {limit:g} {unit}"


def _at_least(name: str, value: float | None, limit: float, unit: str = "times") -> str:
    if value is None:
        return f"not run: {name} ≥ {limit:g} {unit}"
    return f"{'met' if value >= limit else 'not met'}: {name}, {value:.2f} ≥ {limit:g} {unit}"
