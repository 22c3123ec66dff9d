"""What is made of each molecule."""

from __future__ import annotations

from dataclasses import dataclass

from molgeo.runtime.errors import SettingError
from molgeo.runtime.options import option


@dataclass(frozen=True)
class SamplePlan:
    """What is made of each molecule. Each field's ``metadata["help"]`` says what it does."""

    thermal: int = option(4, "samples of a trajectory at one temperature")
    temperatures: tuple[float, ...] = option(
        (300.0, 500.0, 800.0, 1200.0),
        "temperatures, K; one is drawn for each molecule",
        tuple[float, ...],
    )
    steps: int = option(200, "steps of 0.5 fs between samples")
    noise: int = option(1, "copies of the geometry with Gaussian noise")
    amplitudes: tuple[float, float] = option(
        (0.01, 0.08),
        "least and largest standard deviation of the noise, Å, drawn for each copy",
        tuple[float, float],
    )
    geometry: int = option(1, "1 to keep the geometry itself, else 0")
    dimers: float = option(0.25, "dimers with another molecule of the input, on average")
    contacts: tuple[float, float] = option(
        (0.6, 1.4),
        "least and largest closest contact of a dimer, in sums of van der Waals radii",
        tuple[float, float],
    )
    model: str = option("", "force field of the trajectories; default: MMFF94")
    seed: int = option(42, "seed of everything that is drawn")

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name in ("thermal", "noise", "geometry", "dimers"):
            if (value := getattr(self, name)) < 0:
                raise SettingError(f"{name}: expected 0 or more, got {value}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise SettingError(f"temperatures: expected kelvins, got {self.temperatures}")
        if self.steps < 1:
            raise SettingError(f"steps: expected 1 or more, got {self.steps}")
