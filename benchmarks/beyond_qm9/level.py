"""QM9's level of theory, B3LYP/6-31G(2df,p), fast enough for molecules of 16 heavy atoms.

PySCF's own "6-31G(2df,p)" is another basis (energies 5 mHa off). This is Gaussian's, which made
QM9's labels: 6 d and 7 f functions, and B3LYP with VWN3 as its local correlation. With the
integrals done exactly it repeats QM9's energies to 2 µHa. Here Coulomb and exchange are fitted
(0.2 mHa, 1.3 meV in the gap), and exchange and densities are computed in float32 from tensors that
stay in memory (another 0.01 mHa and 0.1 meV), which takes a third of PySCF's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from pyscf import df, dft, gto, lib, scf

Array = NDArray[Any]

XC = "b3lypg"
FIELD = 0.002
"""Hartree per bohr per e, of the differences that give the polarizability."""

DEBYE = 2.541746473
RESPONSE = 5e-5
"""Commutator to which the differences are converged."""

DEPENDENT = 1e-7
"""Eigenvalue of the metric of fitted densities below which a combination is left out."""

TINY = 1e-12
"""Value of a function that counts as none."""

_BLOCK = 8192
_D = {"C": 0.8, "N": 0.8, "O": 0.8, "F": 0.8, "Si": 0.45, "P": 0.55, "S": 0.65, "Cl": 0.75}
_F = {"C": 0.8, "N": 1.0, "O": 1.4, "F": 1.85, "Si": 0.32, "P": 0.45, "S": 0.55, "Cl": 0.7}


class Settings(NamedTuple):
    """What a calculation costs, and how near it comes.

    Attributes:
        d: of each exponent of one set of d functions, by which it is multiplied; a set for each.
        has_more: whether heavy atoms have f functions, and hydrogen p.
        fitting: basis of the fitted densities.
        grid: PySCF's level of it.
        energy: Hartree, to which it converges.
        commutator: of Fock matrix and density, the largest that counts as none.
    """

    d: tuple[float, ...]
    has_more: bool
    fitting: str
    grid: int
    energy: float
    commutator: float


QM9_LEVEL: Final = Settings((2.0, 0.5), True, "def2-universal-jkfit", 1, 1e-6, 1e-3)
ROUGH: Final = Settings((1.0,), False, "weigend", 0, 1e-4, 5e-3)
"""B3LYP/6-31G(d), for a seventh of the time. Of molecules with Si, P, S and Cl orbital energies are
within 0.06 eV of QM9's level, dipoles within 0.1 D (root mean square); energies are not."""


def basis(settings: Settings = QM9_LEVEL) -> dict[str, Any]:
    """6-31G with the polarisation of the settings."""
    made = {"H": gto.basis.load("6-31g", "H") + [[1, [1.1, 1.0]]] * settings.has_more}
    for symbol, d in _D.items():
        polarisation = [[2, [factor * d, 1.0]] for factor in settings.d]
        polarisation += [[3, [_F[symbol], 1.0]]] * settings.has_more
        made[symbol] = gto.basis.load("6-31g", symbol) + polarisation
    return made


def pure_f(mol: gto.Mole) -> Array:
    """(Cartesian functions, functions): 10 f become 7, and all d stay."""
    blocks = []
    for shell in range(mol.nbas):
        l = mol.bas_angular(shell)
        one = np.eye((l + 1) * (l + 2) // 2) if l < 3 else gto.cart2sph(l)
        blocks += [one] * mol.bas_nctr(shell)
    return scipy.linalg.block_diag(*blocks)


@dataclass
class Solution:
    """What one calculation gives, in atomic units."""

    energy: float
    homo: float
    lumo: float
    dipole: Array
    r2: float
    orbitals: Array


class Level:
    """Restricted Kohn–Sham calculations of one neutral molecule.

    Args:
        symbols: of the atoms.
        positions: (atoms, 3) Å.
        settings: QM9's level, or a rougher one.
    """

    def __init__(
        self, symbols: list[str], positions: Array, settings: Settings = QM9_LEVEL
    ) -> None:
        atoms = list(zip(symbols, positions, strict=True))
        mol = gto.M(atom=atoms, basis=basis(settings), cart=True, verbose=0)
        self.settings = settings
        self.mol, self.c = mol, pure_f(mol)
        self.core = scf.hf.get_hcore(mol)
        self.overlap = self.c.T @ mol.intor("int1e_ovlp") @ self.c
        e, v = np.linalg.eigh(self.overlap)
        self.x = v[:, e > 1e-8] / np.sqrt(e[e > 1e-8])
        self.position = mol.intor("int1e_r")
        self._fit()
        self._tabulate()

    def _fit(self) -> None:
        """(ij|P), of Coulomb; and B_Pij of (ij|kl) = Σ_P B_Pij B_Pkl, of exchange, in float32."""
        aux = df.addons.make_auxmol(self.mol, self.settings.fitting)
        self.three = np.ascontiguousarray(df.incore.aux_e2(self.mol, aux, aosym="s2ij"))
        metric = aux.intor("int2c2e")
        try:
            self.two = np.linalg.cholesky(metric)
        except np.linalg.LinAlgError:  # functions of P and S, above all, are nearly dependent
            e, v = np.linalg.eigh(metric)
            kept = e > DEPENDENT
            self.three, self.two = self.three @ v[:, kept], np.diag(np.sqrt(e[kept]))
        half = scipy.linalg.blas.dtrsm(
            1.0, self.two, self.three.T.copy(order="F"), lower=1, overwrite_b=1
        )
        n = self.mol.nao_cart()
        self.b = np.empty((len(half), n, n), np.float32)
        for k in range(0, len(half), 32):
            self.b[k : k + 32] = lib.unpack_tril(np.ascontiguousarray(half[k : k + 32]))

    def _tabulate(self) -> None:
        """Functions and their gradients on the grid, (4, points, functions) float32."""
        self.numint = dft.numint.NumInt()
        grid = dft.gen_grid.Grids(self.mol)
        grid.level = self.settings.grid
        grid.build()
        self.weights = grid.weights
        self.ao = np.empty((4, len(grid.weights), self.mol.nao_cart()), np.float32)
        for k in range(0, len(grid.coords), _BLOCK):
            some = grid.coords[k : k + _BLOCK]
            self.ao[:, k : k + _BLOCK] = self.numint.eval_ao(self.mol, some, deriv=1)
        # Numbers too small for a float32's usual form make products ten times as slow.
        self.ao[np.abs(self.ao) < TINY] = 0.0
        self.hybrid = self.numint.hybrid_coeff(XC)

    def fock(self, orbitals: Array, field: Array) -> tuple[Array, float]:
        """Fock matrix and energy of orbitals that are scaled by the root of their occupation."""
        o = self.c @ orbitals
        o32 = o.astype(np.float32)
        density = o @ o.T
        n = len(density)
        packed = lib.pack_tril(2 * density - np.diag(np.diag(density)))
        fitted = scipy.linalg.cho_solve((self.two, True), packed @ self.three)
        coulomb = lib.unpack_tril(self.three @ fitted)
        half = (self.b.reshape(-1, n) @ o32).reshape(-1, n, o.shape[1])
        half = np.ascontiguousarray(half.transpose(1, 0, 2)).reshape(n, -1)
        exchange = (half @ half.T).astype(np.float64)
        energy_xc, potential = self._exchange_correlation(o32)
        core = self.core + np.einsum("x,xij->ij", field, self.position)
        two = coulomb - 0.5 * self.hybrid * exchange
        energy = np.sum(density * (core + 0.5 * two)) + energy_xc + self.mol.energy_nuc()
        energy -= field @ (self.mol.atom_charges() @ self.mol.atom_coords())
        return self.c.T @ (core + two + potential) @ self.c, float(energy)

    def _exchange_correlation(self, o32: Array) -> tuple[float, Array]:
        phi = self.ao @ o32
        rho = 2.0 * np.einsum("gk,xgk->xg", phi[0], phi, dtype=np.float32).astype(np.float64)
        rho[0] *= 0.5
        energy, potential = self.numint.eval_xc_eff(XC, rho, deriv=1, xctype="GGA")[:2]
        weighted = (potential * self.weights).astype(np.float32)
        weighted[0] *= 0.5
        half = self.ao[0].T @ np.einsum("xg,xgn->gn", weighted, self.ao)
        return float((rho[0] * energy) @ self.weights), (half + half.T).astype(np.float64)

    def solve(
        self,
        field: Array | None = None,
        start: Array | None = None,
        commutator: float | None = None,
    ) -> Solution:
        """Converged as the settings say.

        Args:
            field: (3,) in atomic units.
            start: orbitals of an earlier solution.
            commutator: instead of the settings' one.

        Raises:
            RuntimeError: no convergence in 60 steps.
        """
        field = np.zeros(3) if field is None else field
        commutator = self.settings.commutator if commutator is None else commutator
        n_occupied = self.mol.nelectron // 2
        orbitals = self._guess() if start is None else start
        diis = lib.diis.DIIS()
        before = 0.0
        for step in range(60):
            fock, energy = self.fock(orbitals, field)
            density = orbitals @ orbitals.T
            product = fock @ density @ self.overlap
            residual = self.x.T @ (product - product.T) @ self.x
            is_flat = step and abs(energy - before) < self.settings.energy
            done = is_flat and np.abs(residual).max() < commutator
            before = energy
            if not done:
                fock = diis.update(fock, residual)
            levels, v = np.linalg.eigh(self.x.T @ fock @ self.x)
            if done:
                break
            orbitals = np.sqrt(2.0) * (self.x @ v)[:, :n_occupied]
        else:
            raise RuntimeError("the calculation does not converge")
        cartesian = self.c @ density @ self.c.T
        charges, points = self.mol.atom_charges(), self.mol.atom_coords()
        dipole = charges @ points - np.einsum("xij,ji->x", self.position, cartesian)
        with self.mol.with_common_orig(charges @ points / charges.sum()):
            r2 = np.sum(self.mol.intor("int1e_r2") * cartesian)
        homo, lumo = levels[n_occupied - 1 : n_occupied + 1]
        return Solution(energy, float(homo), float(lumo), dipole, float(r2), orbitals)

    def _guess(self) -> Array:
        density = scf.hf.init_guess_by_minao(self.mol)
        p = scipy.linalg.solve(
            self.overlap, self.c.T @ self.mol.intor("int1e_ovlp"), assume_a="pos"
        )
        e, v = np.linalg.eigh(self.overlap)
        root, inverse = (v * e**p @ v.T for p in (0.5, -0.5))
        occupation, u = np.linalg.eigh(root @ (p @ density @ p.T) @ root)
        some = occupation > 1e-3
        return (inverse @ u)[:, some] * np.sqrt(occupation[some])

    def polarizability(self, solution: Solution) -> float:
        """α = ⅓ Σ_x (μ_x(+F_x) − μ_x(−F_x)) / 2F, in bohr³.

        The field's own commutator is of the order of 1e-3: one that is left at that size would
        leave out a part of the response.
        """
        total = 0.0
        for x in range(3):
            for sign in (1.0, -1.0):
                field = np.zeros(3)
                field[x] = sign * FIELD
                total += sign * self.solve(field, solution.orbitals, RESPONSE).dipole[x]
        return float(total) / (6.0 * FIELD)
