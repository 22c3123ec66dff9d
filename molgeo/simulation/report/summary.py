"""What the table of a run comes to, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molgeo.runtime.errors import InputError

Array = NDArray[np.float64]

MOST_BLOCKS: Final = 10
"""Of the part that has settled, by which the error of its mean temperature is judged."""

LEAST_LEFT_OUT: Final = 0.25
"""Part of every run that means leave out."""

MOST_LEFT_OUT: Final = 0.5
"""Part of a run that has settled nowhere that means leave out."""


@dataclass(frozen=True)
class Summary:
    """The numbers of a run.

    Attributes:
        table: its rows, as `molgeo.simulation` writes them.
        n_atoms: of the system.
        settling_fs: of the start, that means leave out in any case.
    """

    table: pd.DataFrame
    n_atoms: int
    settling_fs: float = 0.0

    @property
    def time_ps(self) -> Array:
        """(rows,) ps."""
        return self.table["time_fs"].to_numpy() / 1000.0

    @cached_property
    def settled_from(self) -> tuple[int, bool]:
        """The row from which on means are taken, and whether the run has settled by then.

        A run begins somewhere: cold, or in a minimum. What it does before temperature and energy
        fluctuate about what they are later would only bias their means.
        """
        n = len(self.table)
        first = max(_settled_from(self.table[name].to_numpy()) for name in _JUDGED)
        first = max(first, int((self.table["time_fs"] < self.settling_fs).sum()))
        most = int(MOST_LEFT_OUT * n)
        return min(max(first, int(LEAST_LEFT_OUT * n)), most), first <= most

    @property
    def settled(self) -> pd.DataFrame:
        """The rows that means are taken of."""
        return self.table.iloc[self.settled_from[0] :]

    @property
    def deviation(self) -> Array | None:
        """(rows,) meV per atom by which the conserved energy has moved; None if there is none."""
        values = self.table["conserved_eV"].to_numpy(dtype=float)
        if not np.isfinite(values).any():
            return None
        moved: Array = 1000.0 * (values - values[0]) / self.n_atoms
        return moved

    @property
    def drift(self) -> float | None:
        """Slope of the conserved energy in meV per atom and ps; None if there is none."""
        deviation = self.deviation
        if deviation is None or len(deviation) < 3:
            return None
        return float(np.polyfit(self.time_ps, deviation, 1)[0])

    def lines(self) -> list[tuple[str, str]]:
        """Names and values, for people."""
        settled = self.settled["temperature_K"].to_numpy()
        mean = f"{settled.mean():.0f}"
        if len(settled) >= MOST_BLOCKS:
            _, error = mean_of_blocks(settled, len(settled) // MOST_BLOCKS)
            mean += f" ± {error:.0f}"
        first, has_settled = self.settled_from
        over = f"the last {self.time_ps[-1] - self.time_ps[first]:.3f} ps"
        over += "" if has_settled else ", as the run is too short to settle"
        rows = [
            ("simulated", f"{self.time_ps[-1]:.3f} ps"),
            ("means are over", over),
            ("mean temperature", f"{mean} K, fluctuates by {settled.std():.0f} K"),
            ("mean potential energy", f"{self.settled['potential_eV'].mean():.4f} eV"),
        ]
        if self.drift is not None:
            rows.append(("drift of the conserved energy", f"{self.drift:.2g} meV/atom/ps"))
        if "pressure_bar" in self.table:
            rows.append(("mean pressure", f"{self.settled['pressure_bar'].mean():.0f} bar"))
            rows.append(("mean volume", f"{self.settled['volume_A3'].mean():.1f} Å³"))
        if "max_force_std_eV_A" in self.table:
            worst = self.table["max_force_std_eV_A"].max()
            rows.append(("largest expected error of a force", f"{worst:.3f} eV/Å"))
        return rows


def summarise(log: Path, n_atoms: int, settling_fs: float = 0.0) -> Summary:
    """Read the table of a run.

    Args:
        log: CSV.
        n_atoms: of the system.
        settling_fs: as in `Summary`.

    Raises:
        InputError: it is no such table, or has no rows.
    """
    wanted = {"time_fs", "potential_eV", "total_eV", "temperature_K", "conserved_eV"}
    try:
        table: Any = pd.read_csv(log)
    except (OSError, ValueError) as error:
        raise InputError(f"{log}: cannot be read as a table of a run: {error}") from error
    if not wanted <= set(table.columns) or table.empty:
        raise InputError(f"{log}: expected rows with {', '.join(sorted(wanted))}")
    return Summary(table, n_atoms, settling_fs)


_JUDGED: Final = ("temperature_K", "potential_eV")


def _settled_from(values: Array) -> int:
    """The start that leaves the mean of the rest with the least error: ``min var(d…) / (n − d)``.

    What is left out may be three quarters of a series.

    Source:
        White, Simulation 69, 323 (1997), the marginal standard error rule.
    """
    rest = values[::-1] - values.mean()
    n = np.arange(1, len(rest) + 1)
    variance = np.cumsum(rest**2) / n - (np.cumsum(rest) / n) ** 2
    error = (variance / n)[::-1]  # (starts,)
    return int(error[: 3 * len(rest) // 4 + 1].argmin())


def mean_of_blocks(values: Array, length: int) -> tuple[float, float]:
    """Mean of a correlated series, and its standard error σ(means of blocks) / √(blocks).

    Args:
        values: (n,), of which the first are left out if they fill no block.
        length: values in a block; right if it is much longer than the series remembers.

    Source:
        Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989).
    """
    n = len(values) // length
    means = values[len(values) - n * length :].reshape(n, length).mean(1)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(n))
