"""Protons go from lone pair to lone pair, and the bonds follow."""

import numpy as np
import pytest
from rdkit import Chem

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.elements import SYMBOLS
from molgeo.generate.bonded import Bonded
from molgeo.generate.clusters import face
from molgeo.generate.transfer import _after, _hops, transferred


def bonded(smiles):
    return Bonded.of(embed(SmilesRow(smiles))[0])


def closed_malonaldehyde():
    """With its hydrogen bond, whatever conformer was made."""
    enol = bonded("O/C=C\\C=O")
    oxygens = np.flatnonzero(enol.z == 8)
    (h,) = [n for n in enol.neighbours[oxygens[0]] if enol.z[n] == 1]
    return enol.relaxed(500, [(int(h), int(oxygens[1]), 1.7)])


def test_malonaldehyde_becomes_itself():
    enol = closed_malonaldehyde()
    (hop,) = _hops(enol)
    after = _after(enol.mol, [hop])
    plain = [Chem.MolToSmiles(Chem.RemoveHs(m)) for m in (enol.mol, after)]
    assert plain[0].replace("/", "").replace("\\", "") == plain[1].replace("/", "").replace(
        "\\", ""
    )
    assert Chem.GetFormalCharge(after) == 0
    assert not any(a.GetFormalCharge() for a in after.GetAtoms())


def test_the_proton_is_between_and_bonds_are_even_half_way():
    enol = closed_malonaldehyde()
    _, d, a = _hops(enol)[0]
    h = _hops(enol)[0][0]
    done, uneven = [], []
    for seed in range(30):
        pos, share = transferred(enol, np.random.default_rng(seed))
        to_d, to_a, apart = (np.linalg.norm(pos[i] - pos[j]) for i, j in ((h, d), (h, a), (d, a)))
        assert to_d + to_a == pytest.approx(apart, rel=0.05)
        assert 2.1 < apart < 3.0
        done.append(share)
        near = next(n for n in enol.neighbours[d] if n != h)
        far = enol.neighbours[a][0]
        uneven.append(np.linalg.norm(pos[d] - pos[near]) - np.linalg.norm(pos[a] - pos[far]))
    # C–O is single before and double after; half way both are alike.
    slope, middle = np.polyfit(np.array(done) - 0.5, uneven, 1)
    assert slope < -0.1
    assert abs(middle) < 0.03


def test_two_acids_change_two_protons():
    acid = bonded("OC=O")
    donor, acceptor = 0, 2
    h = next(n for n in acid.neighbours[donor] if acid.z[n] == 1)
    turned = acid.at(-acid.pos)
    shift = acid.pos[acceptor] + acid.pos[donor]
    axis = shift / np.linalg.norm(shift)
    pair = acid.beside(turned.at(turned.pos + shift + 2.7 * axis)).relaxed(
        500, [(h, len(acid.z) + acceptor, 1.7), (len(acid.z) + h, acceptor, 1.7)]
    )
    hops = [hop for hop in _hops(pair) if (hop[1] < 5) != (hop[2] < 5)]
    there = next(hop for hop in hops if hop[0] < 5)
    back = next(hop for hop in hops if hop[0] >= 5)
    after = _after(pair.mol, [there, back])
    assert Chem.MolToSmiles(Chem.RemoveHs(after)) == "O=CO.O=CO"


def test_ions_pass_their_protons_on():
    rng = np.random.default_rng(0)
    hydronium, water = bonded("[OH3+]"), bonded("O")
    for _ in range(20):
        pair = hydronium.beside(water.at(face(hydronium, water, 0.62, rng)))
        if any(hop[1] == 0 for hop in _hops(pair)):
            break
    hop = next(hop for hop in _hops(pair) if hop[1] == 0)
    after = _after(pair.mol, [hop])
    charges = {a.GetIdx(): a.GetFormalCharge() for a in after.GetAtoms() if a.GetFormalCharge()}
    assert charges == {hop[2]: 1}


def test_no_proton_can_go():
    ethane = bonded("CC")
    assert transferred(ethane, np.random.default_rng(0)) is None
    assert {SYMBOLS[n] for n in ethane.z} == {"C", "H"}
