"""Energies and forces of closed-shell molecules by PySCF."""

from __future__ import annotations

from typing import Any

from ase.calculators.calculator import Calculator, all_changes
from pyscf import dft, gto

from molgeo.units import BOHR, HARTREE


class PySCF(Calculator):
    """Restricted Kohn–Sham density functional theory, or Hartree–Fock with ``xc="hf"``.

    Args:
        xc: functional, as PySCF knows it.
        basis: basis set, as PySCF knows it.
        max_cycle: SCF cycles after which a structure fails.

    Raises:
        RuntimeError: the SCF does not converge.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, xc: str = "b3lyp", basis: str = "def2-svp", max_cycle: int = 100) -> None:
        super().__init__()
        self.xc, self.basis, self.max_cycle = xc, basis, max_cycle

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy", "forces"),
        system_changes: Any = all_changes,
    ) -> None:
        """Energy in eV and forces in eV/Å."""
        super().calculate(atoms, properties, system_changes)
        molecule = gto.M(
            atom=list(zip(atoms.numbers.tolist(), atoms.positions.tolist(), strict=True)),
            unit="Angstrom",
            basis=self.basis,
            charge=int(atoms.info.get("charge", 0)),
            verbose=0,
        )
        mean_field = dft.RKS(molecule, xc=self.xc)
        mean_field.max_cycle = self.max_cycle
        energy = mean_field.kernel()
        if not mean_field.converged:
            raise RuntimeError(f"the SCF did not converge in {self.max_cycle} cycles")
        gradient = mean_field.nuc_grad_method().kernel()
        self.results = {"energy": energy * HARTREE, "forces": -gradient * HARTREE / BOHR}
