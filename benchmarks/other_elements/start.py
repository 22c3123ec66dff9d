"""What a model with Si, P, S and Cl begins as: two shipped nets side by side, each with its heads.

`spectrum_net-qm9-small` knows the properties. `spectrum_net-aimnet2` knows the elements, and its
energy is that of all four energies. An element that QM9 lacks begins in the first as its neighbour
in the periodic table. The baseline takes up what is left on average: composition alone.

The first pools orbital energies as means of atoms. Here each comes from a part of the molecule.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import one_hot as one_hot_of
from torch.nn.functional import pad

from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.properties import NAMES
from molgeo.elements import MASSES
from molgeo.ops.segment import molecule_sum
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import DEFAULT_FORCE_FIELD, load
from molgeo.predictor.heads import SQUARED_DISTANCE_UNIT, centred
from molgeo.units import BOLTZMANN, HARTREE

NAME: Final = "spectrum_net-elements"
START: Final = "spectrum_net-qm9-small"
ENERGIES: Final = ("u0", "u298", "h298", "g298")
ORBITALS: Final = ("homo", "lumo", "gap")
LIKE: Final = {14: 6, 15: 7, 16: 8, 17: 9}
"""Element → the one above it."""
FREE_ATOMS: Final = {
    14: (-289.371989, 3),
    15: (-341.257554, 4),
    16: (-398.105754, 3),
    17: (-460.136686, 2),
}
"""Element → energy in Hartree and multiplicity: unrestricted, exact integrals, at QM9's level. The
same calculation gives QM9's free H, C, N, O and F to 1 µHartree."""


def of_free_atom(element: int, energy: float, multiplicity: int) -> dict[str, float]:
    """Energies of a free atom as QM9 has them: an ideal gas with the spin's degeneracy.

    Args:
        element: its atomic number.
        energy: eV.
        multiplicity: of its spin.
    """
    kT = BOLTZMANN * 298.15
    mass, pressure = MASSES[element] * 1.66053907e-27, 101325.0
    k, h = 1.380649e-23, 6.62607015e-34
    wave = h / math.sqrt(2 * math.pi * mass * k * 298.15)
    entropy = math.log(k * 298.15 / pressure / wave**3) + 2.5 + math.log(multiplicity)
    above = {"u0": 0.0, "u298": 1.5 * kT, "h298": 2.5 * kT, "g298": (2.5 - entropy) * kT}
    return {name: energy + x for name, x in above.items()}


def free_atom(element: int) -> dict[str, float]:
    """Energies of a free atom that QM9 lacks, eV."""
    energy, multiplicity = FREE_ATOMS[element]
    return of_free_atom(element, energy * HARTREE, multiplicity)


def started() -> Predictor:
    """Both nets side by side, before the baseline is fitted."""
    old, field = load(START), load(DEFAULT_FORCE_FIELD)
    members = [
        {"model": one.config.model} | {k: v for k, v in one.config.backbone.items() if k != "n_out"}
        for one in (old, field)
    ]
    hidden = [old.heads.hidden, field.heads.hidden]
    net = Predictor("side_by_side", {"members": members}, old.properties, sum(hidden), True)
    for mine, theirs in zip(net.backbone.members, (old, field), strict=True):
        mine.load_state_dict(theirs.backbone.state_dict())
    with torch.no_grad():
        embedding = net.backbone.members[0].embedding.weight
        for element, like in LIKE.items():
            embedding[element] = embedding[like]
        n, width = len(NAMES), old.backbone.feature_dim
        into = net.heads.in_layer.weight.view(n, sum(hidden), -1)
        bias = net.heads.in_layer.bias.view(n, -1)
        into.zero_()
        into[:, : hidden[0], :width] = old.heads.in_layer.weight.view(n, hidden[0], -1)
        into[:, hidden[0] :, width:] = field.heads.in_layer.weight
        bias[:] = torch.cat(
            [old.heads.in_layer.bias.view(n, -1), field.heads.in_layer.bias.expand(n, -1)], 1
        )
        out = net.heads.out_weight.zero_()
        out[:, : hidden[0]] = old.heads.out_weight
        net.heads.out_bias.copy_(old.heads.out_bias)
        net.scale.copy_(old.scale)
        for k, name in enumerate(NAMES):
            if name in ENERGIES:
                unit = field.scale[0] / old.scale[k]
                out[k, : hidden[0]] = 0.0
                out[k, hidden[0] :] = field.heads.out_weight[0] * unit
                net.heads.out_bias[k] = field.heads.out_bias[0] * unit
        net.baseline.copy_(old.baseline)
        net.atom_reference.copy_(old.atom_reference)
        for element in LIKE:
            for name, energy in free_atom(element).items():
                net.atom_reference[NAMES.index(name), element] = energy
    net.domain, net.name = old.domain, NAME
    return net


@torch.no_grad()
def fit_baseline(net: Predictor, new: MoleculeSet, old: MoleculeSet) -> None:
    """Let composition take up what the net leaves of the labels.

    Energies are another teacher's, so all elements count, by molecules of QM9 too. Of other
    properties only those of new elements do.
    """
    both = new.joined(old)
    outputs, baseline, counts, squares = [], [], [], []
    for part in torch.arange(len(both)).split(256):
        batch = both.batch(part)
        graph = batch.graph(net.cutoff)
        outputs.append(net.standardised(batch.z, batch.pos, graph).double() * net.scale)
        baseline.append(net.baseline_of(batch.z, batch.pos, graph))
        one_hot = one_hot_of(batch.z, net.baseline.shape[-1]).double()
        r2 = centred(batch.z, batch.pos.double(), graph).square().sum(1, keepdim=True)
        counts.append(molecule_sum(one_hot, graph))
        squares.append(molecule_sum(one_hot * r2 / SQUARED_DISTANCE_UNIT, graph))
    x, known = torch.cat(outputs), torch.cat(baseline)
    count, square = torch.cat(counts), torch.cat(squares)
    weight = torch.ones(len(both), 1, dtype=torch.float64)
    weight[len(new) :] = math.sqrt(len(new) / len(old))
    for k, own in enumerate(net.properties):
        if own.head == "dipole":
            continue
        is_energy = own.name in ENERGIES
        elements = both.z.unique().long().tolist() if is_energy else list(LIKE)
        rest = both.y[:, k] - x[:, k] - (0.0 if is_energy else known[:, k])
        rows = rest.isfinite()
        if not is_energy:
            rows[len(new) :] = False
        design = count[:, elements]
        if own.head == "mean":
            design = design / count.sum(1, keepdim=True)
        if own.head == "extent":
            design = torch.cat([design, square[:, elements]], dim=1)
        w, rest = weight[rows], rest[rows].unsqueeze(1)
        fit = torch.linalg.lstsq(design[rows] * w, rest * w, driver="gelsd").solution[:, 0]
        if is_energy:
            net.baseline[k] = 0.0
        for part, values in enumerate(fit.split(len(elements))):
            net.baseline[k, part, elements] = values


@torch.no_grad()
def with_orbitals(net: Predictor, known: MoleculeSet) -> Predictor:
    """The same with orbital energies of parts of a molecule, where they were means of its atoms.

    All atoms have equal shares at first. The baseline of an orbital is the same for all elements,
    so what it said of them comes from the atoms' features, by least squares, through two hidden
    units more: ``silu(x) − silu(−x) = x``.

    Args:
        net: with means.
        known: molecules with all elements.
    """
    heads, n, width = net.heads, len(net.properties), net.heads.feature_dim
    properties = [
        dataclasses.replace(one, head="orbital") if one.name in ORBITALS else one
        for one in net.properties
    ]
    config = net.config
    made = Predictor(config.model, config.backbone, properties, heads.hidden + 2, config.repulsion)
    own = made.heads
    into = pad(heads.in_layer.weight.view(n, heads.hidden, width), (0, 0, 0, 2))
    bias = pad(heads.in_layer.bias.view(n, heads.hidden), (0, 2))
    out, out_bias = own.out_weight.detach().zero_(), own.out_bias.detach().zero_()
    for rows, old_rows in (
        (range(n), range(n)),
        *(([n + own.twofold.index(k)], [n + i]) for i, k in enumerate(heads.twofold)),
    ):
        out[rows, : heads.hidden] = heads.out_weight[old_rows]
        out_bias[rows] = heads.out_bias[old_rows]
    baseline = net.baseline.clone()
    z, features = features_of(net, known)
    design = torch.cat([features, torch.ones(len(z), 1)], dim=1).double()
    for k in (NAMES.index(name) for name in ORBITALS):
        told = net.baseline[k, 0][z]
        baseline[k, 0] = told.mean()
        wanted = ((told - told.mean()) / net.scale[k]).unsqueeze(1)
        found = torch.linalg.lstsq(design, wanted, rcond=1e-5, driver="gelsd").solution[:, 0]
        for unit, sign in ((-2, 1.0), (-1, -1.0)):
            into[k, unit], bias[k, unit], out[k, unit] = sign * found[:-1], sign * found[-1], sign
    state = net.state_dict() | {
        "baseline": baseline,
        "heads.in_layer.weight": into.flatten(0, 1),
        "heads.in_layer.bias": bias.flatten(),
        "heads.out_weight": out,
        "heads.out_bias": out_bias,
    }
    made.load_state_dict(state)
    made.domain, made.name = net.domain, net.name
    return made


def features_of(net: Predictor, known: MoleculeSet) -> tuple[Tensor, Tensor]:
    """(atoms,) atomic numbers and (atoms, features) of molecules."""
    numbers, found = [], []
    for part in torch.arange(len(known)).split(256):
        batch = known.batch(part)
        graph = batch.graph(net.cutoff)
        numbers.append(batch.z)
        found.append(net.backbone.atom_features(batch.z, batch.pos, graph))
    return torch.cat(numbers), torch.cat(found)
