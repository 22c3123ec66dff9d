"""What is made of each molecule."""

from __future__ import annotations

from dataclasses import dataclass

from molgeo.runtime.errors import SettingError


@dataclass(frozen=True)
class Plan:
    """What is made of each molecule.

    Attributes:
        thermal: samples of a trajectory at one temperature.
        temperatures: K, of which one is drawn for each molecule.
        steps: of 0.5 fs between samples.
        noise: copies of the geometry with Gaussian noise.
        amplitudes: least and largest standard deviation of the noise, Å, drawn for each copy.
        geometry: 1 to keep the geometry itself, else 0.
        dimers: dimers with another molecule of the input, on average.
        contacts: least and largest closest contact of a dimer, in sums of van der Waals radii.
        model: a learned force field for the trajectories; empty for MMFF94.
        seed: of everything.
    """

    thermal: int = 4
    temperatures: tuple[float, ...] = (300.0, 500.0, 800.0, 1200.0)
    steps: int = 200
    noise: int = 1
    amplitudes: tuple[float, float] = (0.01, 0.08)
    geometry: int = 1
    dimers: float = 0.25
    contacts: tuple[float, float] = (0.6, 1.4)
    model: str = ""
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name in ("thermal", "noise", "geometry", "dimers"):
            if (value := getattr(self, name)) < 0:
                raise SettingError(f"{name}: expected 0 or more, got {value}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise SettingError(f"temperatures: expected kelvins, got {self.temperatures}")
        if self.steps < 1:
            raise SettingError(f"steps: expected 1 or more, got {self.steps}")
