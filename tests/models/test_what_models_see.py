"""Which pairs of structures a model tells apart, if it sees bonded atoms alone."""

from pathlib import Path

import pytest
import torch
from pairs import BONDS, diastereomers, difference, enantiomers, hydrogen_peroxides, waters

from molgeo.models import (
    ComENet,
    DimeNetPlusPlus,
    GemNet,
    GemNetQ,
    PaiNN,
    SchNet,
    SpectrumNet,
    SphereNet,
)

pytestmark = pytest.mark.usefixtures("on_device")

PAGE = Path(__file__).parents[2] / "docs" / "architecture" / "models.md"

CONVOLUTION = {"n_features": 8, "n_blocks": 3}
DIRECTIONAL = {"hidden": 8, "n_blocks": 3, "int_emb": 6, "output_init": "glorot_orthogonal"}
GEMNET = {"atom_emb": 8, "edge_emb": 12, "triplet_emb": 6, "rbf_emb": 4, "cbf_emb": 3}
COMENET = {"hidden": 8, "middle": 5, "n_residual": 2, "n_output_layers": 1}
SMALL = {
    "SchNet": (SchNet, CONVOLUTION),
    "SpectrumNet": (SpectrumNet, CONVOLUTION | {"n_filters": 6, "n_products": 5}),
    "DimeNet++": (DimeNetPlusPlus, DIRECTIONAL),
    "GemNet-T": (GemNet, GEMNET),
    "PaiNN": (PaiNN, CONVOLUTION),
    "GemNet-Q": (GemNetQ, GEMNET | {"quad_emb": 4, "sbf_emb": 3, "int_cutoff": BONDS}),
    "SphereNet": (SphereNet, DIRECTIONAL),
    "SphereNet, smooth": (SphereNet, DIRECTIONAL | {"smooth": True}),
    "ComENet": (ComENet, COMENET),
    "ComENet, smooth": (ComENet, COMENET | {"smooth": True}),
}
ANGLES = {*SMALL} - {"SchNet"}
DIHEDRALS = {"PaiNN", "GemNet-Q", "ComENet", "ComENet, smooth"}
PAIRS = {
    "an angle at one atom": (waters, ANGLES),
    "a dihedral angle about a bond": (hydrogen_peroxides, DIHEDRALS),
    "diastereomers": (diastereomers, DIHEDRALS | {"SphereNet"}),
    "enantiomers": (enantiomers, {"SphereNet", "ComENet"}),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_model_tells_a_pair_apart_or_not(pair: str, name: str) -> None:
    """Of atoms that are bonded, with a cutoff that nothing else is within."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    (structures, seen_by), (cls, fields) = PAIRS[pair], SMALL[name]
    found = difference(cls(**fields, cutoff=BONDS), structures())
    assert found > 1e-9 if name in seen_by else found < 1e-12


def test_the_page_says_so() -> None:
    lines = PAGE.read_text().splitlines()
    assert f"| pair | {' | '.join(SMALL)} |" in lines
    for pair, (_, seen_by) in PAIRS.items():
        assert f"| {pair} | {' | '.join('yes' if x in seen_by else '–' for x in SMALL)} |" in lines
