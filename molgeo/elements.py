"""Symbols and masses of the elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

_SYMBOLS = """
X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br
Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er
Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm
"""

# As in ASE (IUPAC 2016), rounded to four digits.
_MASSES = """
1 1.008 4.003 6.94 9.012 10.81 12.01 14.01 16 19 20.18 22.99 24.3 26.98 28.09 30.97 32.06 35.45
39.95 39.1 40.08 44.96 47.87 50.94 52 54.94 55.84 58.93 58.69 63.55 65.38 69.72 72.63 74.92
78.97 79.9 83.8 85.47 87.62 88.91 91.22 92.91 95.95 97.91 101.1 102.9 106.4 107.9 112.4 114.8
118.7 121.8 127.6 126.9 131.3 132.9 137.3 138.9 140.1 140.9 144.2 144.9 150.4 152 157.2 158.9
162.5 164.9 167.3 168.9 173.1 175 178.5 180.9 183.8 186.2 190.2 192.2 195.1 197 200.6 204.4
207.2 209 209 210 222 223 226 227 232 231 238 237 244.1 243.1 247.1 247.1 251.1 252.1 257.1
"""

SYMBOLS: Final = tuple(_SYMBOLS.split())
"""Element symbols by atomic number, to Fm (100); X stands at 0."""

MASSES: Final = tuple(float(mass) for mass in _MASSES.split())
"""Standard atomic weights in u by atomic number, to four digits."""

# As in ASE: Cordero et al., Dalton Trans. 2832 (2008); 0.20 Å if unknown.
_RADII = """
.20 .31 .28 1.28 .96 .84 .76 .71 .66 .57 .58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 1.06 2.03 1.76
1.70 1.60 1.53 1.39 1.39 1.32 1.26 1.24 1.32 1.22 1.22 1.20 1.19 1.20 1.20 1.16 2.20 1.95 1.90
1.75 1.64 1.54 1.47 1.46 1.42 1.39 1.45 1.44 1.42 1.39 1.39 1.38 1.39 1.40 2.44 2.15 2.07 2.04
2.03 2.01 1.99 1.98 1.98 1.96 1.94 1.92 1.92 1.89 1.90 1.87 1.87 1.75 1.70 1.62 1.51 1.44 1.41
1.36 1.36 1.32 1.45 1.46 1.48 1.40 1.50 1.50 2.60 2.21 2.15 2.06 2.00 1.96 1.90 1.87 1.80 1.69
2.00 2.00 2.00 2.00
"""

COVALENT_RADII: Final = tuple(float(radius) for radius in _RADII.split())
"""Covalent radii in Å by atomic number."""


def formula(z: Iterable[int]) -> str:
    """Molecular formula in Hill order of atomic numbers: C, H, then the others by symbol."""
    count = Counter(SYMBOLS[int(n)] for n in z)
    first = [symbol for symbol in ("C", "H") if symbol in count] if "C" in count else []
    symbols = first + sorted(set(count) - set(first))
    return "".join(s + (str(count[s]) if count[s] > 1 else "") for s in symbols)
