"""molgeo's models as a calculator of ASE: energies, forces and stresses of moving atoms."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    InputError,
    PropertyNotImplementedError,
    all_changes,
)
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from molgeo.chem.electrons import charge_of, open_shell_reason
from molgeo.chem.molecule import MIN_DISTANCE
from molgeo.elements import SYMBOLS
from molgeo.graph import Graph
from molgeo.graph.skin import SkinGraph
from molgeo.predictor import Predictor, ensemble
from molgeo.predictor.ensemble import Model, advice, check_energies, mean, members, on_host
from molgeo.runtime.device import choose
from molgeo.runtime.errors import SettingError, UnknownSettingError, UserError
from molgeo.runtime.plain_text import nearest
from molgeo.simulation.familiarity import Doubts, Unfamiliar, unfamiliar
from molgeo.simulation.memory import Memory, inputs
from molgeo.simulation.replay import MOST_EDGES, Replay, Replayed, check_replay
from molgeo.simulation.starts import Starts

DTYPES: Final = {"float32": torch.float32, "float64": torch.float64}


class UnsupportedAtomsError(UserError, InputError, ValueError):
    """Atoms that the models must not see; the message is one line and says why."""


class MolgeoCalculator(Calculator):
    """Energy, forces and more of one structure, from a force field or an ensemble of them.

    ``results`` holds ``energy`` and ``free_energy`` (the same, eV), ``energies`` (atoms,) that sum
    to it, ``forces`` (atoms, 3) in eV/Å without constraints, ``stress`` (6,) in eV/Å³ and Voigt's
    order if there is a periodic cell with a volume and forces are gradients, and ``dipole`` (3,) in
    e·Å if the model gives mu and nothing is periodic. Models that tell their errors add
    ``forces_std`` (atoms,) in eV/Å, the expected size of the error of each atom's force. With
    several models all these are means, ``energy_std`` is their sample standard deviation, and
    ``forces_std`` at least ‖that of forces‖.

    Steps share a graph until an atom has moved by half the skin. Structures that share a calculator
    in turn, as the images of a band do, are not computed twice. Elements, charge (of ``info``) and
    spin are checked once for each composition, distances at every step. A molecule whose bonds or
    environments the training data do not hold is computed with an `UnfamiliarWarning`, once, as is
    one with an expected error above ``max_force_error``, the models' own limit (eV/Å or None). The
    given atoms never change, nor do the weights, which copies share. Threads may share a
    calculator, which computes for one at a time: each gets what it asked for, though ``results``
    are those of the last.

    Args:
        model: name of a shipped force field, path of a checkpoint, a predictor (which is copied),
            or a sequence of these, an ensemble; None for the default force field.
        device: "cpu", "cuda", or "auto" for the fastest there is.
        dtype: "float32" or "float64", of positions and weights; energies are summed in float64.
        skin: Å beyond the cutoff within which neighbours are remembered.
        allow_untrained_forces: differentiate models that never saw a force, or are not smooth.
        check_geometry: refuse a structure whose coordinates cannot be Å or that lacks hydrogens,
            when its elements or the `Atoms` themselves are new to the calculator; what becomes of
            them later is not looked at.
        allow_unfamiliar: no `UnfamiliarWarning` of molecules unlike the training data.
        replay: record the operations of an evaluation and replay them. On a CPU they are replayed
            while the graph stays the same. That takes the time of some 400 evaluations once and
            makes a small molecule's steps about twice as fast. On a card they are captured as a
            CUDA graph that holds for other graphs of the atoms too. True records at once, False
            never, and "auto" after so many steps that it pays (`molgeo.simulation.replay`).
            "compiled" makes machine code of the model for the CPU: half a minute and a C++ compiler
            once, and then half to three quarters of the time of a recording, from the first step.

    Raises:
        ValueError: no model, an unknown one or one without forces; a device, type, skin or replay
            that is not there.
    """

    implemented_properties: list[str]
    models: list[Predictor]
    direct_forces: str | None
    neighbours: SkinGraph

    def __init__(
        self,
        model: Model | Sequence[Model] | None = None,
        device: str = "auto",
        dtype: Literal["float32", "float64"] = "float32",
        skin: float = 0.5,
        allow_untrained_forces: bool = False,
        check_geometry: bool = True,
        allow_unfamiliar: bool = False,
        replay: Replay = "auto",
    ) -> None:
        self._lock = threading.RLock()
        self._options: dict[str, Any] = {}
        super().__init__()
        self.set(
            model=model,
            device=device,
            dtype=dtype,
            skin=skin,
            allow_untrained_forces=allow_untrained_forces,
            check_geometry=check_geometry,
            allow_unfamiliar=allow_unfamiliar,
            replay=replay,
        )

    def set(self, **options: Any) -> dict[str, Any]:
        """Take other options, and forget what was computed with those before.

        Args:
            options: as of the calculator itself.

        Returns:
            Those that are others now.

        Raises:
            TypeError: an option that there is not.
            ValueError: a value that cannot be; all options stay as they were.
        """
        for name in options:
            if self._options and name not in self._options:
                hint = nearest(name, self._options)
                raise UnknownSettingError(
                    f"{name}: expected some of {', '.join(self._options)}{hint}"
                )
        with self._lock:
            changed = {k: v for k, v in options.items() if not _same(self._options, k, v)}
            if changed:
                self._set_up({**self._options, **options}, changed)
        return changed

    def _set_up(self, options: dict[str, Any], changed: dict[str, Any]) -> None:
        """Make what depends on options."""
        if options["dtype"] not in DTYPES:
            known = ", ".join(DTYPES)
            raise SettingError(f"dtype: expected one of {known}, got {options['dtype']!r}")
        if not isinstance(options["skin"], int | float):
            raise SettingError(f"skin: expected a number of Å, got {options['skin']!r}")
        device, dtype = choose(options["device"]), DTYPES[options["dtype"]]
        check_replay(options["replay"], device)
        models = self.models if self._options else []
        if changed.keys() & {"model", "device", "dtype", "allow_untrained_forces"}:
            source = options["model"] if "model" in changed else models
            models = members(source, device, dtype, options["allow_untrained_forces"])
        cutoff = max(each.cutoff for each in models)
        linear = all(each.backbone.linear_in_edges for each in models)
        records = options["replay"] in (True, "auto") and device.type == "cpu"
        most_complete = MOST_EDGES if linear and records else 0
        self.neighbours = SkinGraph(cutoff, options["skin"], dtype, device, most_complete)
        # Of a predictor, which its owner may change, nothing is kept but the copy in `models`.
        named = options["model"] if isinstance(options["model"], str) else None
        self.models, self._options = models, {**options, "model": named}
        self.model_name = ",".join(each.name for each in models)
        kept = {name: options[name] for name in ("dtype", "skin", "replay")}
        self.parameters.update(model=self.model_name, **kept)
        self._replayed = [Replayed(each, options["replay"]) for each in models]
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        self.direct_forces = ensemble.direct_forces(models)
        if not self.direct_forces:
            self.implemented_properties.append("stress")
        if all(each.dipole_index is not None for each in models):
            self.implemented_properties.append("dipole")
        self._doubts = Doubts(models)
        self.max_force_error = self._doubts.max_force_error
        if len(models) > 1:
            self.implemented_properties.append("energy_std")
        if len(models) > 1 or self.max_force_error is not None:
            self.implemented_properties.append("forces_std")
        self._z = torch.empty(0, dtype=torch.long)
        self._starts, self._memory = Starts(), Memory()
        self.reset()

    def get_property(self, name: str, atoms: Atoms | None = None, *args: Any, **kw: Any) -> Any:
        """One result for some atoms, as ASE asks for it; one thread at a time.

        Raises:
            PropertyNotImplementedError: the models do not give it, or not for such atoms.
        """
        _check_type(atoms)
        with self._lock:
            try:
                return super().get_property(name, atoms, *args, **kw)
            except PropertyNotImplementedError as error:
                raise PropertyNotImplementedError(self._missing(name, atoms)) from error

    def _missing(self, name: str, atoms: Atoms | None) -> str:
        """Why there is no such result."""
        if name not in self.implemented_properties:
            given = ", ".join(self.implemented_properties)
            why = f": {self.direct_forces}" if name == "stress" else ""
            return f"{name}: {self.model_name} gives none, only {given}{why}"
        pbc = None if atoms is None else atoms.pbc.tolist()
        wanted = "periodic atoms with a cell" if name == "stress" else "atoms that are not periodic"
        return f"{name}: expected {wanted}, got pbc {pbc}"

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation; charge and spin in ``info`` too.

        Compared to the last bit, whatever ``tol`` is: ASE's own comparison, three times a step,
        takes a tenth of a small molecule's step.
        """
        last = self.atoms
        if last is None:
            return [*all_changes]
        before, now = inputs(last), inputs(atoms)
        return [name for name in now if before[name] != now[name]]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``; a gradient is computed only if it is asked for.

        Args:
            atoms: not changed.
            properties: names as in `implemented_properties`.
            system_changes: what of the atoms has changed.

        Raises:
            UnsupportedAtomsError: no atoms, elements, charge or spin outside the domain, atoms on
                top of each other, a start that cannot be in Å, or periodic directions without a
                lattice vector.
            CalculationFailed: a model gave no finite number.
        """
        _check_type(atoms)
        with self._lock:
            given = self.atoms if atoms is None else atoms
            atoms = None if given is None else given.copy()
            self.atoms, self.results = None, {}  # if this fails, nothing is known
            if given is None or atoms is None:
                raise UnsupportedAtomsError("atoms: expected some to calculate, got None")
            is_new = not {"positions", "cell"}.issuperset(system_changes)
            if is_new:
                self._accept(atoms)
            self._check_start(atoms, given)
            key = tuple(inputs(atoms).values())
            results = self._memory.find(key, properties)
            if results is None:
                derivatives = bool({"forces", "stress", "forces_std"}.intersection(properties))
                results = self._evaluate(atoms, derivatives)
                self._memory.keep(key, len(atoms), results)
            if is_new:
                self.warn_of(atoms)
            self.warn_of(atoms, results)
            self.atoms, self.results, self._starts.last = atoms, results, atoms

    def check(self, atoms: Atoms) -> None:
        """Refuse what `calculate` would refuse, without a calculation.

        Raises:
            UnsupportedAtomsError: as in `calculate`.
        """
        with self._lock:
            self.reset()
            self._accept(atoms)
            self._check_start(atoms, atoms)
            pos, graph = self._graph(atoms)
            distances = graph.distances(pos)
            self._check_distances(distances, _least(distances))

    def _accept(self, atoms: Atoms) -> None:
        """Take a new composition, or refuse what no model must see, or this one must not."""
        try:
            reason = self._domain_reason(atoms, charge_of(atoms)) or open_shell_reason(atoms)
        except ValueError as error:
            raise UnsupportedAtomsError(str(error)) from error
        open_directions = atoms.pbc & ~atoms.cell.any(1)
        if open_directions.any():
            reason = reason or (
                f"pbc is {atoms.pbc.tolist()}: expected a lattice vector in each periodic "
                f"direction, got cell {atoms.cell.tolist()}"
            )
        if reason:
            raise UnsupportedAtomsError(reason)
        self._z = torch.as_tensor(atoms.numbers, device=self.neighbours.device).long()
        takes_charge = any(each.backbone.takes_charge for each in self.models)
        self.neighbours.take_charge(charge_of(atoms) if takes_charge else None)
        for each in self._replayed:
            each.forget()

    def _check_start(self, atoms: Atoms, given: Atoms) -> None:
        """Refuse coordinates that are no numbers, and what is no structure if it is new here.

        Args:
            atoms: to calculate.
            given: those of the user that they are a copy of.
        """
        for name, values in (("pos", atoms.positions), ("cell", atoms.cell.array)):
            if not np.isfinite(values).all():
                k = int((~np.isfinite(values)).any(axis=1).argmax())
                raise UnsupportedAtomsError(
                    f"{name}: expected finite coordinates, got {values[k].tolist()} (row {k + 1})"
                )
        if not self._options["check_geometry"]:
            return
        if reason := self._starts.reason(atoms, given):
            raise UnsupportedAtomsError(f"{reason} (check_geometry=False calculates all the same)")
        self._starts.see(given)

    def _domain_reason(self, atoms: Atoms, charge: int) -> str | None:
        """Why a composition or a charge lies outside the domain of one of the models, or None."""
        for each in self.models:
            reason = each.domain.check(atoms.numbers, charge=charge) if each.domain else None
            last = int(atoms.numbers.max(initial=0))
            if each.domain is None and charge:
                reason = f"charge {charge:+d}: {each.name} says nothing of charges"
            elif each.domain is None and last >= each.backbone.n_elements:
                reason = f"{each.name} has no features of {SYMBOLS[last]}"
            if reason:
                return reason + advice(atoms.numbers, charge)
        return None

    def unfamiliar(self, atoms: Atoms) -> Unfamiliar | None:
        """What of some atoms the training data of the models do not hold; None for nothing."""
        return unfamiliar(self.models, atoms)

    def warn_of(self, atoms: Atoms, results: dict[str, Any] | None = None) -> None:
        """Say once of a molecule what is unknown of it, or of its forces if there are results."""
        if not self._options["allow_unfamiliar"]:
            self._doubts.warn(atoms, results)

    def _evaluate(self, atoms: Atoms, derivatives: bool) -> dict[str, Any]:
        """Run all models on one structure."""
        pos, graph = self._graph(atoms)
        distances = graph.distances(pos)
        volume = abs(np.linalg.det(atoms.cell.array)) if atoms.pbc.any() else 0.0
        asked = derivatives, derivatives and volume > 0 and not self.direct_forces
        potentials = [each.potential(self._z, pos, graph, *asked) for each in self._replayed]
        potentials, least = on_host(potentials, _least(distances))
        self._check_distances(distances, least)
        reason = check_energies(potentials, self.models) if len(potentials) > 1 else None
        if reason:
            raise UnsupportedAtomsError(reason)
        results = mean(potentials)
        if "strain_gradient" in results:
            results["stress"] = full_3x3_to_voigt_6_stress(results.pop("strain_gradient") / volume)
        if atoms.pbc.any():
            results.pop("dipole", None)
        for name, value in results.items():
            if not np.isfinite(value).all():
                raise CalculationFailed(
                    f"{self.model_name} gave no finite {name}: check the geometry"
                )
        return results

    def know(self, atoms: Atoms, results: dict[str, Any]) -> None:
        """Take results of atoms that were accepted; what is missing is computed if asked for."""
        self.atoms, self.results = atoms.copy(), results
        self._starts.last = self.atoms

    def export_properties(self) -> Properties:
        """The results that ASE has a name for."""
        return Properties({k: v for k, v in self.results.items() if k in all_outputs})

    def state(self) -> dict[str, Any]:
        """What the next step depends on beside the atoms: the results, and the graph's own place.

        Which edges beyond the cutoff a graph holds decides how its sums are rounded, and how often
        it was used decides whether they are replayed, on a card with how much padding.
        """
        return {
            "neighbours": self.neighbours.state(),
            "results": self.results,
            "uses": [each.uses for each in self._replayed],
            "limits": [each.limits for each in self._replayed],
        }

    def restore(self, atoms: Atoms, state: dict[str, Any]) -> None:
        """Continue as another calculator of the same models would, to the last digit.

        Args:
            atoms: as they were.
            state: from `state`.
        """
        self._accept(atoms)
        self.neighbours.restore(state["neighbours"])
        self._starts.last = atoms.copy()
        self._starts.see(atoms)
        if state["neighbours"]:
            limits = state.get("limits") or [[] for _ in self._replayed]
            for each, *own in zip(self._replayed, state["uses"], limits, strict=True):
                each.restore(self.neighbours.graph, *own)
        self.atoms, self.results = atoms.copy(), state["results"]

    def _graph(self, atoms: Atoms) -> tuple[Tensor, Graph]:
        """Positions and graph of atoms that were accepted."""
        try:
            pos, graph = self.neighbours(atoms.positions, atoms.cell.array, atoms.pbc)
        except ValueError as error:
            raise UnsupportedAtomsError(str(error)) from error
        return pos, graph

    def _check_distances(self, distances: Tensor, least: Tensor) -> None:
        """Refuse atoms on top of each other: no model has learned anything of them."""
        if float(least) >= MIN_DISTANCE:
            return
        pair, graph = int(distances.argmin()), self.neighbours.graph
        edge = graph.forward[pair]
        ends = sorted((int(graph.source[edge]), int(graph.target[edge])))
        names = [f"{k + 1} ({SYMBOLS[self._z[k]]})" for k in ends]
        raise UnsupportedAtomsError(
            f"atoms {names[0]} and {names[1]} are {float(distances[pair]):.3f} Å apart: "
            f"expected at least {MIN_DISTANCE} Å"
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock: a copy has its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> MolgeoCalculator:
        memo.update({id(each): each for each in self.models})  # they never change
        memo[id(self)] = other = type(self).__new__(type(self))
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other


def _least(distances: Tensor) -> Tensor:
    """The least of some distances; infinite if there are none."""
    return distances.min() if distances.numel() else distances.new_full((), torch.inf)


def _check_type(atoms: object) -> None:
    if atoms is not None and not isinstance(atoms, Atoms):
        raise TypeError(f"atoms: expected ase.Atoms, got {type(atoms).__name__}")


def _same(options: dict[str, Any], name: str, value: Any) -> bool:
    """Whether an option has this value already; of models only a name tells."""
    return options.get(name) == value if isinstance(value, str | int | float) else False
