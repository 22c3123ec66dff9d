"""Geometries of small molecules (of the G2 set), for tests that must run without ASE."""

from pathlib import Path

import torch

from molgeo.elements import SYMBOLS

_LINES = iter((Path(__file__).parent / "fixtures" / "compounds.xyz").read_text().splitlines())
_ROWS = {next(_LINES): [next(_LINES).split() for _ in range(int(n))] for n in _LINES}


def compound(name):
    """(atoms,) atomic numbers and (atoms, 3) float64 positions in Å."""
    z = torch.tensor([SYMBOLS.index(symbol) for symbol, *_ in _ROWS[name]])
    pos = torch.tensor([[float(x) for x in xyz] for _, *xyz in _ROWS[name]], dtype=torch.float64)
    return z, pos
