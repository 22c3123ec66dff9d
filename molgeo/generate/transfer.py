"""Protons on their way from one lone pair to another."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
from rdkit import Chem

from molgeo.elements import COVALENT_RADII
from molgeo.generate.bonded import Array, Bonded

Hop = tuple[int, int, int]
"""A proton, the atom that it leaves and the one that it goes to."""

DONORS: Final = frozenset((7, 8, 9, 16, 17, 35, 53))
FARTHEST: Final = 3.6
"""Å, between the atoms that a proton may go between, before they are drawn together."""
NEAREST_BY_BONDS: Final = 4
"""Bonds between them at least, if they are of one molecule: nearer ones are in no ring with it."""
BRIDGE: Final = (1.15, 1.5)
"""Their distance with the proton between them, in lengths of the two bonds to it."""
STEPS: Final = 60


def transferred(bonded: Bonded, rng: np.random.Generator) -> tuple[Array, float] | None:
    """One proton, or two that change places, somewhere between two atoms.

    The geometry is that of the molecule before and after, each relaxed with the protons and their
    two atoms held, mixed by how far the protons are.

    Args:
        bonded: one molecule or several.
        rng: of the protons and of how far they are.

    Returns:
        (atoms, 3) Å and how far the proton is, from 0 to 1; None if none can go anywhere.
    """
    hops = _hops(bonded)
    if not hops:
        return None
    chosen = [hops[rng.integers(len(hops))]]
    _, leaves, goes = chosen[0]
    back = [h for h in hops if h[0] != chosen[0][0] and _is_reverse(bonded, (leaves, goes), h)]
    if back and rng.random() < 0.7:
        chosen.append(back[rng.integers(len(back))])
    done = float(rng.uniform(-0.05, 1.05))
    pos, held = bonded.pos.copy(), []
    for h, d, a in chosen:
        to_d, to_a = (float(COVALENT_RADII[bonded.z[k]] + COVALENT_RADII[1]) for k in (d, a))
        far = (to_d + to_a) * float(rng.uniform(*BRIDGE))
        reached = to_d + done * (far - to_d - to_a)
        held += [(d, a, far), (d, h, reached), (h, a, far - reached)]
        pos[h] = pos[d] + reached / far * (pos[a] - pos[d])
    before = bonded.at(pos).relaxed(STEPS, held)
    product = _after(bonded.mol, chosen)
    if product is None:
        return before.pos, done
    try:
        after = Bonded(product, before.pos).relaxed(STEPS, held).pos
    except (ValueError, RuntimeError):  # neither force field knows what it becomes
        return before.pos, done
    share = min(max(done, 0.0), 1.0)
    return before.pos + share * (_laid_on(after, before.pos) - before.pos), done


def _hops(bonded: Bonded) -> list[Hop]:
    """Protons that are near enough to another lone pair."""
    bonds = Chem.GetDistanceMatrix(bonded.mol)
    atoms = list(bonded.mol.GetAtoms())
    acceptors = [
        a.GetIdx()
        for a in atoms
        if a.GetAtomicNum() in DONORS
        and a.GetFormalCharge() <= 0
        and a.GetDegree() <= (3 if a.GetAtomicNum() == 7 else 1 if a.GetAtomicNum() == 17 else 2)
    ]
    found = []
    for proton in atoms:
        if proton.GetAtomicNum() != 1 or proton.GetDegree() != 1:
            continue
        donor = bonded.neighbours[proton.GetIdx()][0]
        if bonded.z[donor] not in DONORS:
            continue
        for a in acceptors:
            near = np.linalg.norm(bonded.pos[a] - bonded.pos[donor]) < FARTHEST
            if near and a != donor and bonds[donor, a] >= NEAREST_BY_BONDS:
                found.append((proton.GetIdx(), donor, a))
    return found


def _is_reverse(bonded: Bonded, way: tuple[int, int], hop: Hop) -> bool:
    """Whether a proton goes from the molecule that another goes to, to the one that it leaves."""
    of = {k: n for n, frag in enumerate(Chem.GetMolFrags(bonded.mol)) for k in frag}
    leaves, goes = of[way[0]], of[way[1]]
    return leaves != goes and of[hop[1]] == goes and of[hop[2]] == leaves


def _after(mol: Chem.Mol, hops: list[Hop]) -> Chem.Mol | None:
    """The graph after the hops; None if it is none of sound valences."""
    after = Chem.RWMol(mol)
    Chem.Kekulize(after, clearAromaticFlags=True)
    for h, d, a in hops:
        after.RemoveBond(h, d)
        after.AddBond(h, a, Chem.BondType.SINGLE)
        for k, change in ((d, -1), (a, 1)):
            atom = after.GetAtomWithIdx(k)
            atom.SetFormalCharge(atom.GetFormalCharge() + change)
            atom.SetNoImplicit(True)
            atom.SetNumExplicitHs(0)
    for d in {hop[1] for hop in hops}:
        _neutralise(after, [d])
    try:
        Chem.SanitizeMol(after)
    except (Chem.MolSanitizeException, ValueError):
        return None
    return after.GetMol()


def _neutralise(mol: Chem.RWMol, path: list[int]) -> bool:
    """Shift double bonds along a conjugated path from a negative atom to a positive one.

    ``O⁻–C=C–C=O⁺H`` is ``O=C–C=C–OH``.
    """
    start, here = mol.GetAtomWithIdx(path[0]), mol.GetAtomWithIdx(path[-1])
    if start.GetFormalCharge() >= 0:
        return False
    if len(path) % 2 and here.GetFormalCharge() > 0:
        for i, j in itertools.pairwise(path):
            bond = mol.GetBondBetweenAtoms(i, j)
            was_single = bond.GetBondType() == Chem.BondType.SINGLE
            bond.SetBondType(Chem.BondType.DOUBLE if was_single else Chem.BondType.SINGLE)
        start.SetFormalCharge(0)
        here.SetFormalCharge(0)
        return True
    wanted = Chem.BondType.SINGLE if len(path) % 2 else Chem.BondType.DOUBLE
    return any(
        _neutralise(mol, [*path, n.GetIdx()])
        for n in here.GetNeighbors()
        if n.GetIdx() not in path
        and mol.GetBondBetweenAtoms(here.GetIdx(), n.GetIdx()).GetBondType() == wanted
    )


def _laid_on(pos: Array, other: Array) -> Array:
    """Positions, moved as a whole onto others of the same atoms (Kabsch)."""
    centre, there = pos.mean(0), other.mean(0)
    u, _, vt = np.linalg.svd((pos - centre).T @ (other - there))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    laid: Array = (pos - centre) @ (u @ sign @ vt) + there
    return laid
