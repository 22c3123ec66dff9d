"""What the table of a run comes to, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molgeo.chem.molecule import InputError

Array = NDArray[np.float64]

MOST_BLOCKS: Final = 10
"""Of a run's second half, by which the error of its mean temperature is judged."""


@dataclass(frozen=True)
class Summary:
    """The numbers of a run.

    Attributes:
        table: its rows, as `molgeo.dynamics` writes them.
        n_atoms: of the system.
    """

    table: pd.DataFrame
    n_atoms: int

    @property
    def time_ps(self) -> Array:
        """(rows,) ps."""
        return self.table["time_fs"].to_numpy() / 1000.0

    @property
    def settled(self) -> pd.DataFrame:
        """The second half of the rows, which means are taken of."""
        return self.table.iloc[len(self.table) // 2 :]

    @property
    def mean_temperature(self) -> float:
        """K, of the second half."""
        return float(self.settled["temperature_K"].mean())

    @property
    def deviation(self) -> Array | None:
        """(rows,) meV an atom by which the conserved energy has moved; None where there is none."""
        values = self.table["conserved_eV"].to_numpy(dtype=float)
        if not np.isfinite(values).any():
            return None
        moved: Array = 1000.0 * (values - values[0]) / self.n_atoms
        return moved

    @property
    def drift(self) -> float | None:
        """Slope of the conserved energy in meV an atom and ps; None where there is none."""
        deviation = self.deviation
        if deviation is None or len(deviation) < 3:
            return None
        return float(np.polyfit(self.time_ps, deviation, 1)[0])

    def lines(self) -> list[tuple[str, str]]:
        """Names and values, for people."""
        settled = self.settled["temperature_K"].to_numpy()
        mean = f"{self.mean_temperature:.0f}"
        if len(settled) >= MOST_BLOCKS:
            _, error = mean_of_blocks(settled, len(settled) // MOST_BLOCKS)
            mean += f" ± {error:.0f}"
        rows = [
            ("simulated", f"{self.time_ps[-1]:.3f} ps"),
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
            rows.append(("largest disagreement of the models", f"{worst:.3f} eV/Å"))
        return rows


def summarise(log: Path, n_atoms: int) -> Summary:
    """Read the table of a run.

    Args:
        log: CSV.
        n_atoms: of the system.

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
    return Summary(table, n_atoms)


def mean_of_blocks(values: Array, length: int) -> tuple[float, float]:
    """Mean of a correlated series, and its standard error σ(means of blocks) / √(blocks).

    Args:
        values: (n,), of which the first are left out where they fill no block.
        length: values in a block; right where it is much longer than the series remembers.

    Source:
        Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989).
    """
    n = len(values) // length
    means = values[len(values) - n * length :].reshape(n, length).mean(1)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(n))
