"""Small force fields with random weights, and atoms for them."""

import dataclasses

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from small_models import small

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor import Predictor
from molgeo.predictor.domain import Domain
from molgeo.predictor.expected_errors import expected_errors
from molgeo.predictor.gaussians import Gaussians, gaussians
from molgeo.predictor.header import Facts
from molgeo.simulation.calculator import MolgeoCalculator

BACKBONES = {
    "schnet": {"n_features": 16, "n_filters": 16, "n_blocks": 2, "n_gaussians": 20, "cutoff": 4.0},
    "dimenet_pp": {
        "hidden": 16,
        "n_blocks": 1,
        "int_emb": 8,
        "out_emb": 16,
        "n_spherical": 3,
        "n_radial": 4,
        "cutoff": 4.0,
    },
    "spectrum_net": {
        "n_features": 16,
        "n_filters": 16,
        "n_products": 8,
        "n_blocks": 2,
        "n_gaussians": 20,
        "cutoff": 4.0,
    },
}


KNOWN = {**PROPERTIES, "energy": ENERGY}


def with_direct_forces():
    """A force field whose forces are not the gradient of its energy, in float64."""
    predictor = force_field("gemnet", **small("gemnet").fields, direct_forces=True).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for block in predictor.backbone.forces:
            torch.nn.init.normal_(block.last.weight)
    return predictor


def force_field(model="schnet", properties=("energy",), seed=0, **fields):
    """As a training on forces leaves it, but with random weights and references.

    Further arguments are fields of the backbone; with ``charges`` it knows -1, 0 and 1.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        predictor = Predictor(
            model,
            BACKBONES.get(model, {}) | fields,
            [KNOWN[name] for name in properties],
            head_features=8,
        ).eval()
        if fields.get("charges"):
            torch.nn.init.normal_(predictor.backbone.charge.value.weight)
        torch.nn.init.normal_(predictor.heads.out_weight)
    sums = [k for k, kind in enumerate(predictor.heads.kinds) if kind == "sum"]
    noise = torch.rand(len(sums), 10, generator=generator, dtype=torch.float64)
    predictor.baseline[sums, 0, :10] = -1000.0 * noise
    predictor.scale.fill_(0.7)
    predictor.header = Facts(trained_on_forces=True)
    charges = (-1, 0, 1) if fields.get("charges") else None
    predictor.domain = Domain((1, 6, 8), max_atoms=20, min_distance=0.9, charges=charges)
    predictor.name = f"random-{model}-{seed}"
    return predictor


def crystal(seed=0):
    """Six atoms in a small skewed cell, some of them outside it."""
    rng = np.random.default_rng(seed)
    cell = np.diag([4.0, 4.5, 5.0]) + 0.4 * rng.random((3, 3))
    grid = np.array(
        [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0.1], [0.5, 0.5, 0.5], [0.1, 0, 0.5], [0.4, 0.5, 0]]
    )
    scaled = grid + 0.03 * rng.standard_normal((6, 3)) + rng.integers(-1, 2, (6, 3))
    return Atoms("OCHCHO", scaled_positions=scaled, cell=cell, pbc=True)


NAMES = ("CH3CH2OH", "H2O", "CH3OH")


def features_of(model, atoms):
    found = {}
    calc = MolgeoCalculator(model, "cpu", "float64", replay=False)
    calc.models[0].heads.in_layer.register_forward_hook(lambda _, x, __: found.update(x=x[0]))
    calc.calculate(atoms, ["forces"])
    return found["x"].detach().float()


def told(limit=1e3, seed=0):
    """A force field that tells errors, by Gaussians of the features of some molecules."""
    own = force_field("spectrum_net", seed=seed)
    shaken = []
    for k in range(30):
        shaken.append(molecule(NAMES[k % 3]))
        shaken[-1].rattle(0.03, seed=k)
    x = torch.cat([features_of(own, atoms) for atoms in shaken])
    z = torch.cat([torch.from_numpy(atoms.numbers) for atoms in shaken])
    found = gaussians(x, z, 4)
    _, apart = Gaussians(**found).distances(x, z)
    error = 0.1 * apart * torch.rand(len(z), generator=torch.Generator().manual_seed(seed))
    made = expected_errors(found, apart, z, error, torch.arange(len(z)) // 6)
    own.expected_errors = dataclasses.replace(made, limit=torch.tensor([float(limit)]))
    return own
