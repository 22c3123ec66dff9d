"""What is made of each molecule."""

from __future__ import annotations

from dataclasses import dataclass

from molgeo.runtime.errors import SettingError
from molgeo.runtime.options import option

COUNTS = (
    "thermal",
    "vibrations",
    "torsions",
    "bends",
    "stretches",
    "noise",
    "geometry",
    "dimers",
    "transfers",
)


@dataclass(frozen=True)
class SamplePlan:
    """What is made of each molecule. Each field's ``metadata["help"]`` says what it does."""

    thermal: int = option(4, "samples of a trajectory at one temperature")
    vibrations: float = option(
        0.0, "samples of the vibrations of MMFF94 or UFF (a hundred times cheaper), on average"
    )
    torsions: float = option(
        0.0, "vibrating molecules with one to three torsions turned to any angle, on average"
    )
    bends: float = option(
        0.0, "vibrating molecules with one angle changed by up to 60°, on average"
    )
    stretches: float = option(
        0.0, "vibrating molecules with one bond at 0.8 to 2.5 times its length, on average"
    )
    temperatures: tuple[float, ...] = option(
        (300.0, 500.0, 800.0, 1200.0),
        "temperatures, K; one is drawn for each trajectory and each vibrating molecule",
        tuple[float, ...],
    )
    steps: int = option(200, "steps of 0.5 fs between samples of a trajectory")
    noise: float = option(1.0, "copies of the geometry with Gaussian noise, on average")
    amplitudes: tuple[float, float] = option(
        (0.01, 0.08),
        "least and largest standard deviation of the noise, Å, drawn for each copy",
        tuple[float, float],
    )
    geometry: float = option(1.0, "copies of the geometry itself, on average")
    dimers: float = option(0.25, "clusters with other molecules of the input, on average")
    contacts: tuple[float, float] = option(
        (0.6, 1.4),
        "least and largest closest contact of a cluster, in sums of van der Waals radii; "
        "near ones are drawn more often",
        tuple[float, float],
    )
    largest: int = option(2, "most molecules of a cluster")
    most_atoms: int = option(100, "most atoms of a cluster")
    partners: tuple[str, ...] = option(
        (),
        "SMILES, each of which is in clusters as often as another molecule of the input",
        tuple[str, ...],
    )
    relaxation: int = option(
        0, "most steps of MMFF94 or UFF that half of the clusters and turned molecules relax"
    )
    transfers: float = option(
        0.0, "molecules or clusters with a proton on its way along a hydrogen bond, on average"
    )
    conformers: int = option(1, "conformers of each SMILES; one is drawn for each structure")
    model: str = option("", "force field of the trajectories; default: MMFF94")
    seed: int = option(42, "seed of everything that is drawn")

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name in (*COUNTS, "relaxation"):
            if (value := getattr(self, name)) < 0:
                raise SettingError(f"{name}: expected 0 or more, got {value}")
        if not self.temperatures or min(self.temperatures) <= 0:
            raise SettingError(f"temperatures: expected kelvins, got {self.temperatures}")
        for name, least in (("steps", 1), ("conformers", 1), ("largest", 2)):
            if (value := getattr(self, name)) < least:
                raise SettingError(f"{name}: expected {least} or more, got {value}")
        for name in ("amplitudes", "contacts"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise SettingError(f"{name}: expected two lengths, ascending, got {low}, {high}")
