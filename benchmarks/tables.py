"""Rows as the Markdown tables of README.md."""

from __future__ import annotations

from typing import Any

HEADER = (
    "| model | mode | batch | molgeo ms | PyG ms | ratio (quartiles) | peak MB molgeo / PyG "
    "| GEMM share molgeo / PyG | memory limit ms molgeo / PyG | difference |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)
"""Of ``models_vs_pyg.py``."""


def line(row: dict[str, Any]) -> str:
    """A row of ``models_vs_pyg.py``."""
    ratio = row.get("pyg_skipped", "")
    if found := row.get("ratio"):
        ratio = f"**{found['median']:.2f}** ({found['q1']:.2f}–{found['q3']:.2f})"
    ms = {side: found["median"] for side, found in row["ms"].items()}
    limit = _both(row.get("memory_limit_ms", {}), ".2f") if "memory_limit_ms" in row else "–"
    difference = f"{max(row['difference'].values()):.0e}" if row["difference"] else "–"
    return (
        f"| {row['model']} | {row['mode']} | {row['batch']} "
        f"| {ms['molgeo']:.2f} | {_number(ms.get('pyg'), '.2f')} | {ratio} "
        f"| {_both(row['peak_mb'], '.1f')} | {_both(row['gemm_share'], '.0%')} "
        f"| {limit} | {difference} |"
    )


def _both(sides: dict[str, float], form: str) -> str:
    return " / ".join(_number(sides.get(side), form) for side in ("molgeo", "pyg"))


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
