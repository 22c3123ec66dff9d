"""Backbone + heads + references: from atoms to properties in their published units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from molgeo import models
from molgeo.elements import SYMBOLS
from molgeo.graph import Graph, given_or_found
from molgeo.graph.strain import strained
from molgeo.ops.segment import molecule_sum
from molgeo.predictor.domain import Domain
from molgeo.predictor.expected_errors import ExpectedErrors
from molgeo.predictor.familiarity import (
    Familiarity,
    Judged,
    kinds_of,
    strangeness,
    with_deviations,
)
from molgeo.predictor.header import Facts, PredictorConfig
from molgeo.predictor.heads import Heads, moment, pool
from molgeo.predictor.inputs import check_atoms
from molgeo.predictor.kernel import KernelShape
from molgeo.predictor.outputs import named
from molgeo.predictor.potential import Potential
from molgeo.predictor.repulsion import Repulsion
from molgeo.properties import Property, first_energy, names_of
from molgeo.runtime.errors import SettingError
from molgeo.runtime.precision import Exact

N_ELEMENTS = len(SYMBOLS)


class Predictor(Exact):
    """A trained model: ``value = baseline(z, pos) + scale · heads(backbone(z, pos))``.

    The baseline is linear in the composition (and for an extent also in Σ r² of each element) and
    is added in float64, as a float32 has a spacing of 2 meV at QM9's total energies. With a
    repulsion, the heads' energies are added to that of `molgeo.predictor.repulsion`.

    Args:
        model: the backbone: a name, as in `molgeo.models.names`, an import path or the class.
        backbone: fields of its config; it is built without the published readout.
        properties: what it predicts.
        head_features: hidden width of each property's head.
        repulsion: add the repulsion of screened nuclei to the energies.
        kernel: shape of the Gaussian processes of heads of the kind ``kernel``, if there are any.

    Attributes:
        name: of the checkpoint, as printed in outputs.
        config: these arguments, all of them.
        header: what its checkpoint says of it; empty if it was never saved.
        domain: what the model was trained on; None before training.
        familiarity: how far molecules are from the training data; None if it is not known.
        expected_errors: of a force field, how wrong its forces are; None if it is not known.
        baseline: (properties, 2, elements) float64 contributions of an atom and of its r².
        scale: (properties,) float64, unit of the heads' outputs.
        atom_reference: (properties, elements) float64, energies of free atoms in eV, NaN if
            unknown.

    Raises:
        ValueError: unknown model, properties that cannot be together, or nothing to repel.
        TypeError: unknown field of the backbone's config.
    """

    baseline: Tensor
    scale: Tensor
    atom_reference: Tensor

    def __init__(
        self,
        model: str | type[models.Backbone],
        backbone: dict[str, Any] | None,
        properties: Sequence[Property],
        head_features: int = 64,
        repulsion: bool = False,
        kernel: KernelShape | None = None,
    ) -> None:
        super().__init__()
        name = models.name_of(model)
        self.backbone = models.build(model, {**(backbone or {}), "n_out": None})
        self.heads = Heads(self.backbone.feature_dim, properties, head_features, kernel)
        # All fields, so that a checkpoint does not change its meaning when a default does.
        self.config = PredictorConfig(
            model=name,
            backbone=models.given_values(self.backbone.config),
            properties=self.properties,
            head_features=head_features,
            repulsion=repulsion,
            kernel=kernel,
        )
        n = len(self.properties)
        self.register_buffer("baseline", torch.zeros(n, 2, N_ELEMENTS, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(n, dtype=torch.float64))
        unknown = torch.full((n, N_ELEMENTS), torch.nan, dtype=torch.float64)
        self.register_buffer("atom_reference", unknown)
        self._free_atoms: tuple[Any, Sequence[bool]] = None, [False] * n
        self.name = name
        self.domain: Domain | None = None
        self.familiarity: Familiarity | None = None
        self.expected_errors: ExpectedErrors | None = None
        self.header = Facts()
        self.sha256 = ""
        self.repulsion = Repulsion() if repulsion else None
        _ = self.energy if repulsion else None
        if repulsion and self.backbone.direct_forces:
            raise SettingError(f"repulsion: it has no effect on forces that are {models.DIRECT}")

    @property
    def properties(self) -> tuple[Property, ...]:
        """What the model predicts, in the order of the heads."""
        return self.heads.properties

    @property
    def property_names(self) -> tuple[str, ...]:
        """Names of the properties."""
        return names_of(self.properties)

    @property
    def outputs(self) -> dict[str, Property]:
        """What a call gives by its keys: the properties, and energies relative to free atoms."""
        known = zip(self.properties, self._has_free_atoms(), strict=True)
        free = [one.atomization for one, is_known in known if one.is_energy and is_known]
        return {one.name: one for one in (*self.properties, *free)}

    def _has_free_atoms(self) -> Sequence[bool]:
        """Whether a free atom of each property is known; read again only after a change."""
        reference = self.atom_reference
        if torch.compiler.is_compiling() and self._free_atoms[0] is not None:
            return self._free_atoms[1]
        # A tensor of inference mode does not count its changes.
        state = None if reference.is_inference() else (id(reference), reference._version)
        if state is None or state != self._free_atoms[0]:
            self._free_atoms = state, (~reference.isnan()).any(1).tolist()
        return self._free_atoms[1]

    @property
    def descriptors(self) -> tuple[str, ...]:
        """Names of the descriptors of a molecule's bonds that a call takes; mostly none."""
        return self.heads.kernel.shape.descriptors if self.heads.by_kernel else ()

    @property
    def energy(self) -> Property:
        """The property that forces are derived from: the first of the model's energies.

        Raises:
            SettingError: the model has no energy.
        """
        energy = first_energy(self.properties)
        if energy is None:
            raise SettingError(
                f"{self.name}: forces need an energy; it predicts {', '.join(self.property_names)}"
            )
        return energy

    @property
    def energy_index(self) -> int:
        """Number of `energy` among the properties."""
        return self.properties.index(self.energy)

    @property
    def dipole_index(self) -> int | None:
        """Number of the first dipole moment in Debye among the properties; None without any."""
        kinds = [(one.head, one.unit) for one in self.properties]
        return kinds.index(("dipole", "D")) if ("dipole", "D") in kinds else None

    @property
    def cutoff(self) -> float:
        """The backbone's cutoff in Å."""
        return self.backbone.cutoff

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        graph: Graph | None = None,
        charge: Tensor | None = None,
        descriptors: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predict all properties.

        Args:
            z: (atoms,) atomic numbers, of any type of integers.
            pos: (atoms, 3) Å, of any type of numbers: computed in the type of the weights.
            batch: (atoms,) molecule of each atom, ascending; None for one molecule.
            graph: edges within `cutoff`, or more of them: those beyond contribute nothing. None to
                find them. Who gives a graph has checked elements and positions: beside it only
                shapes are looked at, so that nothing waits for a device.
            charge: (molecules,) int64, total charges, e; None for those of the graph, or for
                neutral molecules. A model that takes none gives the same for all charges.
            descriptors: (molecules, d) those of `descriptors`; None for those of the graph.

        Returns:
            Key of `outputs` → (molecules,) float64, in the property's unit. Energies are totals;
            those with known free atoms add ``<name>_atomization``, the energy relative to them.
            A property that is tied to another one lies above it by its constant. Values are cut to
            their property's range, but in training mode, as what is cut has no gradient.

        Raises:
            TypeError: no tensors, or numbers of the wrong kind.
            ValueError: the tensors' shapes or devices do not fit together, or a number is no
                element's.
        """
        z, pos, graph = self._accepted(z, pos, batch, graph, charge, descriptors)
        units = self.to_units(self.standardised(z, pos, graph), z, pos, graph)
        return self._outputs(units, z, graph, cut=not self.training)

    def judged(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        graph: Graph | None = None,
        charge: Tensor | None = None,
        descriptors: Tensor | None = None,
    ) -> Judged:
        """As a call, with what tells how much the values mean, out of the same pass.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å.
            batch: (atoms,) molecule of each atom, ascending; None for one molecule.
            graph: as in a call.
            charge: as in a call.
            descriptors: as in a call.
        """
        z, pos, graph = self._accepted(z, pos, batch, graph, charge, descriptors)
        features = self.backbone.atom_features(z, pos, graph)
        out, deviations = self.heads.judged(features, z, pos, graph)
        out, _ = self.repelled(out, z, pos, graph)
        units = self.to_units(out, z, pos, graph)
        baseline = units / self.scale - out.double()
        known = self.familiarity or self.expected_errors
        signals = None if known is None else known.signals(features, z, graph)
        if signals is not None and deviations is not None:
            signals = with_deviations(signals, deviations)
        return Judged(
            self._outputs(units, z, graph, cut=True),
            strangeness(out, baseline, graph.atoms_per_molecule, kinds_of(self.properties)),
            signals,
            features,
        )

    def unbounded(self, z: Tensor, pos: Tensor) -> dict[str, Tensor]:
        """As a call for one molecule, with values as the network gives them: for a self-test.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å.
        """
        z, pos, graph = self._accepted(z, pos)
        if self.descriptors:  # of no molecule in particular
            graph = graph.with_known(descriptors=self.heads.kernel.centre.unsqueeze(0))
        units = self.to_units(self.standardised(z, pos, graph), z, pos, graph)
        return self._outputs(units, z, graph, cut=False)

    def _outputs(self, units: Tensor, z: Tensor, graph: Graph, cut: bool) -> dict[str, Tensor]:
        """What a call returns, from what `to_units` gives; cut to the properties' ranges."""
        out = named(units, self.properties)
        for one in self.properties:
            own = out[one.name].sigmoid() if one.is_probability else out[one.name]
            out[one.name] = own.clamp(one.minimum, one.maximum) if cut and one.is_bounded else own
        free = molecule_sum(self.atom_reference.T[z], graph)
        for key, one in self.outputs.items():
            if one.total is not None:
                out[key] = out[one.total.name] - free[:, self.properties.index(one.total)]
        return out

    def standardised(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """What training fits: (molecules, properties), baseline removed, in units of `scale`."""
        return self.of_features(self.backbone.atom_features(z, pos, graph), z, pos, graph)

    def of_features(self, features: Tensor, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """`standardised` from the backbone's features of atoms."""
        return self.repelled(self.heads(features, z, pos, graph), z, pos, graph)[0]

    def repelled(
        self, out: Tensor, z: Tensor, pos: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs of heads with the repulsion, and this by atoms in eV; None if there is none."""
        if self.repulsion is None:
            return out, None
        of_atoms = self.repulsion(z, pos, graph)
        total, columns = molecule_sum(of_atoms, graph), [*out.unbind(-1)]
        for k, own in enumerate(self.properties):
            if own.is_energy:
                columns[k] = columns[k] + (total / self.scale[k]).to(out.dtype)
        return torch.stack(columns, dim=-1), of_atoms

    def to_units(self, standardised: Tensor, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Add the baseline: (molecules, properties) float64 in the properties' units."""
        return self.baseline_of(z, pos, graph) + self.scale * standardised.double()

    def to_standardised(self, y: Tensor, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Labels in the type of the weights: (molecules, properties); undoes `to_units`."""
        standardised = (y - self.baseline_of(z, pos, graph)) / self.scale
        return standardised.to(next(self.parameters()).dtype)

    def baseline_of(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """The baseline: (molecules, properties) float64 in the properties' units."""
        atoms = self.baseline[:, 0].T[z]  # (atoms, properties)
        own = [self.baseline[k, 1] for k in self.heads.twofold]
        second = torch.stack(own, dim=-1)[z] if own else None
        return pool(atoms, second, self.heads.kinds, z, pos.double(), graph)

    def energy_and_forces(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        allow_untrained_forces: bool = False,
        graph: Graph | None = None,
        charge: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Energy (the first of the model's energies, u0 on QM9) and forces.

        Forces are its exact negative gradient, but those of a backbone with `direct_forces`.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å.
            batch: (atoms,) molecule of each atom, ascending; None for one molecule.
            allow_untrained_forces: as of `check_forces`.
            graph: edges within `cutoff`, or more of them, as steps of a simulation share; elements
                and positions are then not checked.
            charge: as in a call.

        Returns:
            Total energy (molecules,) float64 in eV and forces (atoms, 3) in eV/Å, like ``pos``.

        Raises:
            SettingError: the model has no energy, or was not trained on forces.
        """
        self.check_forces(allow_untrained_forces)
        z, moved, graph = self._accepted(z, pos, batch, graph, charge)
        # A copy made outside inference mode can be differentiated, whatever the caller's mode is.
        with torch.inference_mode(False):
            found = self.potential(z.clone(), moved, graph)
        assert found.forces is not None
        return found.energy, found.forces.to(pos.dtype if pos.is_floating_point() else moved.dtype)

    def check_forces(self, allow_untrained_forces: bool = False) -> None:
        """Refuse a model whose energy has no meaningful gradient.

        Args:
            allow_untrained_forces: let a model pass that never saw a force, or is not smooth.

        Raises:
            SettingError: the model has no energy, was not trained on forces, or is not smooth.
        """
        _ = self.energy
        if not (allow_untrained_forces or self.backbone.is_smooth):
            raise SettingError(f"{self.name}: {models.JUMPS}")
        if not (allow_untrained_forces or self.header.trained_on_forces):
            reason = "was trained on properties of relaxed molecules, so its forces mean nothing"
            advice = "take a force field (`molgeo models`) or pass allow_untrained_forces=True"
            raise SettingError(f"{self.name} {reason}; {advice}")

    def potential(
        self, z: Tensor, pos: Tensor, graph: Graph, derivatives: bool = True, strain: bool = False
    ) -> Potential:
        """All that a simulation asks for, in one pass: energy, its parts, forces and stress.

        The stress times the volume is the exact derivative of the energy by a homogeneous,
        symmetric strain ε of positions and lattice, ``r → r (1 + ε)``.

        Args:
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            graph: edges within `cutoff`, or more of them.
            derivatives: compute forces; direct ones take none, and are always there.
            strain: compute the derivative by the strain too, with the forces.

        Returns:
            `Potential`, on the device of ``pos``.

        Raises:
            SettingError: the model has no energy.
        """
        k, strain = self.energy_index, derivatives and strain
        by_position = derivatives and not self.backbone.direct_forces
        with torch.inference_mode(False), torch.set_grad_enabled(by_position or strain):
            graph = graph.clone() if graph.source.is_inference() else graph
            pos = pos.detach().clone().requires_grad_(by_position)
            moved, by = pos, {"forces": pos} if by_position else {}
            if strain:
                by["strain"] = pos.new_zeros(graph.n_molecules, 3, 3, requires_grad=True)
                moved, graph = strained(pos, graph, by["strain"])
            features, direct = self.backbone.features_and_forces(z, moved, graph)
            atoms, second = self.heads.per_atom(features)
            out = pool(atoms, second, self.heads.kinds, z, moved, graph)
            out, repulsion = self.repelled(out, z, moved, graph)
            total = named(self.to_units(out, z, moved, graph), self.properties)[self.energy.name]
            found = torch.autograd.grad(total.sum(), [*by.values()]) if by else ()
            gradients = dict(zip(by, found, strict=True))
        with torch.no_grad():
            forces = None if direct is None else self.scale[k] * direct
            own = self.baseline[k, 0][z] + self.scale[k] * atoms[:, k].double()
            if repulsion is not None:
                own = own + repulsion.double()
            # What belongs to no atom (the pV of an enthalpy) is shared evenly.
            rest = (total - molecule_sum(own, graph)) / graph.atoms_per_molecule
            d, known = self.dipole_index, self.expected_errors
            return Potential(
                energy=total.detach(),
                energies=own + rest[graph.batch],
                forces=-gradients["forces"] if by_position else forces,
                strain_gradient=gradients.get("strain"),
                dipole=None
                if d is None
                else self.scale[d] * moment(atoms[:, d].double(), pos.double(), graph),
                forces_std=None if known is None else known.of_atoms(features, z),
            )

    def _accepted(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        graph: Graph | None = None,
        charge: Tensor | None = None,
        descriptors: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Graph]:
        """What a caller gave in the types of the model, or an error that says what is wrong."""
        check_atoms(z, pos, batch, charge)
        if graph is None:
            models.check_elements(z, min(N_ELEMENTS, self.backbone.n_elements))
        weight = next(self.parameters())
        if pos.device != weight.device:
            raise ValueError(
                f"pos: expected a tensor on the model's device, {weight.device}, got one on "
                f"{pos.device}"
            )
        pos, batch = pos.to(weight.dtype), None if batch is None else batch.long()
        found = given_or_found(graph, pos, self.cutoff, batch, charge, descriptors)
        return z.long(), pos, found

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the module, its records too; the references are never rounded."""
        super()._apply(fn, recurse)
        for name in ("familiarity", "expected_errors"):
            if (known := getattr(self, name)) is not None:
                setattr(self, name, known.to(self.scale.device))
        return self
