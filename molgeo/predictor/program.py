"""A model as a program: one file that PyTorch runs without molgeo.

A program takes atoms and the pairs of atoms within the cutoff, which any neighbour list gives. It
is made once and holds for molecules of any size and number. What it takes and gives is written in
the file itself (`description`), as JSON under the name `ABOUT`.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx

from molgeo import models
from molgeo.elements import SYMBOLS
from molgeo.graph import Graph
from molgeo.graph.padding import APART
from molgeo.graph.pairs import graph_of_pairs
from molgeo.graph.slots import ranked_slots
from molgeo.predictor import checkpoint
from molgeo.predictor.predictor import Predictor
from molgeo.runtime.errors import SettingError
from molgeo.runtime.version import VERSION
from molgeo.runtime.whole_file import replacing

ABOUT: Final = "molgeo.json"
"""Name of the description among the extra files of a program's file."""


class Value(NamedTuple):
    """A tensor that a program takes or gives.

    Attributes:
        dtype: its type.
        shape: its axes: a number, or what it counts.
        unit: of its numbers.
        meaning: one line.
    """

    dtype: str
    shape: tuple[int | str, ...]
    unit: str
    meaning: str


INPUTS: Final = {
    "z": Value("int64", ("atoms",), "", "atomic numbers, molecule after molecule"),
    "pos": Value("float64", ("atoms", 3), "Å", "positions"),
    "n_atoms": Value("int64", ("molecules",), "", "number of atoms of each molecule"),
    "pairs": Value(
        "int64",
        (2, "pairs"),
        "",
        "the two atoms of each pair of atoms of one molecule within the cutoff, each pair once, in "
        "any order; further pairs change nothing",
    ),
    "offset": Value(
        "float64",
        ("pairs", 3),
        "Å",
        "lattice translation of each pair's second atom: pos[pairs[1]] + offset - pos[pairs[0]] is "
        "shorter than the cutoff; zeros without periodic boundaries",
    ),
}
"""What every program takes, in this order."""

CHARGE: Final = {"charge": Value("int64", ("molecules",), "e", "total charge of each molecule")}
"""What the program of a model that takes charges takes last."""

POTENTIAL: Final = {
    "energy": Value("float64", ("molecules",), "eV", "total energy"),
    "energies": Value("float64", ("atoms",), "eV", "each atom's part of it"),
    "forces": Value("float64", ("atoms", 3), "eV/Å", "its negative gradient by the positions"),
    "strain_gradient": Value(
        "float64",
        ("molecules", 3, 3),
        "eV",
        "its derivative by a homogeneous strain; divided by the cell's volume, the stress",
    ),
    "dipole": Value(
        "float64", ("molecules", 3), "D", "dipole moment, the sign of a molecule's may be wrong"
    ),
    "forces_std": Value(
        "float64", ("atoms",), "eV/Å", "expected size of the error of each atom's force"
    ),
}
"""What the program of a force field gives, the last two if the model knows them. If its forces are
direct, there is no gradient by a strain."""


class Program(nn.Module):
    """What is exported: tensors in, tensors out, and nothing in between that depends on a size.

    Args:
        predictor: whose weights do not change.
        forces: give `POTENTIAL`; else the properties.
        strain: of that, the derivative by a strain too, if forces are a gradient.
    """

    def __init__(self, predictor: Predictor, forces: bool, strain: bool = True) -> None:
        super().__init__()
        self.predictor, self.forces = predictor, forces
        self.strain = strain and not predictor.backbone.direct_forces
        _ = predictor.outputs  # which free atoms are known is not looked at while it is exported

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        n_atoms: Tensor,
        pairs: Tensor,
        offset: Tensor,
        charge: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Arguments as `INPUTS` and `CHARGE`; float64 results by their keys."""
        graph = _graph(z, n_atoms, pairs, offset).with_known(charge)
        if not self.forces:
            return self.predictor(z, pos, graph=graph)
        if torch.compiler.is_exporting():
            return _with_derivatives(self.potential, z, pos, n_atoms, graph)
        return self.potential(z, pos, graph)

    def potential(self, z: Tensor, pos: Tensor, graph: Graph) -> dict[str, Tensor]:
        """`POTENTIAL`, as far as the model knows it."""
        weight = next(self.predictor.parameters())
        found = self.predictor.potential(z, pos.to(weight.dtype), graph, strain=self.strain)
        return {name: x.double() for name, x in found._asdict().items() if x is not None}


def _graph(z: Tensor, n_atoms: Tensor, pairs: Tensor, offset: Tensor) -> Graph:
    """The graph of pairs, with all neighbourhoods in one block."""
    # An image of an atom, too far away to count: so there is a pair, even if there is one atom.
    pairs = torch.cat([pairs, pairs.new_zeros(2, 1)], dim=1)
    offset = torch.cat([offset, offset.new_full((1, 3), APART)])
    batch = torch.repeat_interleave(n_atoms, output_size=z.shape[0])
    graph = graph_of_pairs(pairs, offset, batch, n_atoms.shape[0])
    width: Any = graph.degree.max().item()  # a number that only a call of the program knows
    torch._check(width >= 2)  # the added pair, from both of its ends
    slots = ranked_slots(graph.ptr, graph.n_edges, [(z.shape[0], width)])
    return dataclasses.replace(graph, slots=slots)


def export(model: str | Path | Predictor, file: str | Path, forces: bool | None = None) -> None:
    """Write a model as a program: ``torch.export.load(file).module()`` runs it without molgeo.

    Args:
        model: shipped name, path of a checkpoint, or the model.
        file: ends in ``.pt2``.
        forces: energy and forces; False for the properties; None for what the model was trained on.

    Raises:
        SettingError: forces of a model that was not trained on forces, another ending, or a
            folder that is not there.
    """
    path = Path(file)
    if path.suffix != ".pt2":
        raise SettingError(f"output: expected a file that ends in .pt2, got {path.name}")
    if not path.absolute().parent.is_dir():
        raise SettingError(f"output: {path}: there is no such folder")
    predictor = model if isinstance(model, Predictor) else checkpoint.load(model)
    about = json.dumps(description(predictor, forces), indent=2, ensure_ascii=False)
    content = io.BytesIO()
    torch.export.save(program_of(predictor, forces), content, extra_files={ABOUT: about})
    with replacing(path) as part:
        part.write_bytes(content.getbuffer())


def description(predictor: Predictor, forces: bool | None = None) -> dict[str, Any]:
    """What a program's file says of it, as JSON has it.

    Args:
        predictor: the model.
        forces: as in `export`.
    """
    header, domain = predictor.header, predictor.domain
    if _has_forces(predictor, forces):
        is_direct = predictor.backbone.direct_forces
        known = {
            "strain_gradient": not is_direct,
            "dipole": predictor.dipole_index is not None,
            "forces_std": predictor.expected_errors is not None,
        }
        outputs = {name: value for name, value in POTENTIAL.items() if known.get(name, True)}
        if is_direct:
            outputs["forces"] = outputs["forces"]._replace(meaning=models.DIRECT)
    else:
        outputs = {
            key: Value("float64", ("molecules",), one.unit, one.description or one.symbol)
            for key, one in predictor.outputs.items()
        }
    return {
        "model": predictor.name,
        "model_sha256": header.sha256,
        "made_by": f"molgeo {VERSION}, torch {torch.__version__}",
        "cutoff": predictor.cutoff,
        "level_of_theory": header.level_of_theory,
        "data": header.data,
        "elements": [] if domain is None else [SYMBOLS[z] for z in domain.elements],
        "inputs": {name: value._asdict() for name, value in _inputs(predictor).items()},
        "outputs": {name: value._asdict() for name, value in outputs.items()},
    }


def program_of(predictor: Predictor, forces: bool | None = None) -> torch.export.ExportedProgram:
    """A model as a program, on the device and in the precision of the model.

    Args:
        predictor: the model, which stays as it is.
        forces: as in `export`.

    Raises:
        SettingError: forces of a model that was not trained on forces, or a model that takes more
            than atoms.
    """
    if predictor.descriptors:
        raise SettingError(
            f"{predictor.name}: it takes descriptors of bonds by RDKit, which no program computes; "
            "`molgeo fit --coordinates-alone` makes a model that has none"
        )
    own = copy.deepcopy(predictor).requires_grad_(False).eval()
    return exported(Program(own, _has_forces(predictor, forces)))


def exported(program: Program) -> torch.export.ExportedProgram:
    """The operations of a program, for all sizes of its inputs.

    Args:
        program: whose model is its own: it keeps what it makes in the first call.
    """
    axes = {
        name: {
            n: torch.export.Dim.DYNAMIC
            for n, axis in enumerate(value.shape)
            if isinstance(axis, str)
        }
        for name, value in _inputs(program.predictor).items()
    }
    example = _example(program.predictor)
    with torch.inference_mode(False), torch.no_grad():
        program(*example)  # tables that a model makes once are constants, not operations
        return torch.export.export(program, example, dynamic_shapes=axes, strict=False)


def _inputs(predictor: Predictor) -> dict[str, Value]:
    """What the program of a model takes, in this order."""
    return {**INPUTS, **(CHARGE if predictor.backbone.takes_charge else {})}


def _has_forces(predictor: Predictor, forces: bool | None) -> bool:
    """What is exported if ``forces`` was asked for."""
    if forces is None:
        return predictor.header.trained_on_forces
    if forces:
        predictor.check_forces()
    return forces


def _example(predictor: Predictor) -> tuple[Tensor, ...]:
    """Three molecules whose sizes all differ, so that an export takes none for another."""
    device = next(predictor.parameters()).device
    element = predictor.domain.elements[0] if predictor.domain else 1
    n_atoms = torch.tensor([3, 3, 5], device=device)
    z = torch.full((11,), element, device=device)
    pos = torch.arange(33, dtype=torch.float64, device=device).sin().view(11, 3) * 3.0
    pairs = torch.tensor([[0, 0, 1, 3, 3, 4, 6], [1, 2, 2, 4, 5, 5, 7]], device=device)
    offset = torch.zeros(7, 3, dtype=torch.float64, device=device)
    charge = (torch.tensor([1, 0, -1], device=device),) if predictor.backbone.takes_charge else ()
    return z, pos, n_atoms, pairs, offset, *charge


def _with_derivatives(
    function: Callable[[Tensor, Tensor, Graph], dict[str, Tensor]],
    z: Tensor,
    pos: Tensor,
    n_atoms: Tensor,
    graph: Graph,
) -> dict[str, Tensor]:
    """``function(z, pos, graph)``, as an export can see it: with autograd's backward passes.

    An export notes the operations that a model calls. What autograd does of its own is not among
    them. So all operations are noted once below autograd, and these are then called.
    """

    def of_tensors(z: Tensor, pos: Tensor, n_atoms: Tensor, *tensors: Tensor) -> dict[str, Tensor]:
        rest = iter(tensors)
        same = dataclasses.replace(graph, n_molecules=n_atoms.shape[0])
        return function(z, pos, same.map(lambda _: next(rest)))

    tensors = z, pos, n_atoms, *graph.tensors()
    with disable_proxy_modes_tracing(), torch._C.DisableTorchFunction():
        operations = make_fx(of_tensors)(*tensors)
    operations.graph.eliminate_dead_code()
    operations.recompile()
    found: dict[str, Tensor] = operations(*tensors)
    return found
