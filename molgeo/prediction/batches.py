"""A predictor at work on any list of molecules: batches of bounded cost, and no bad neighbours.

`ChosenModels` says which of several predictors a row is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from molgeo.chem.molecule import Molecule, check_bonds, check_geometry
from molgeo.prediction.given import (
    GIVEN,
    NO_MINIMUM,
    fits_cheap,
    is_as_given,
    is_distorted,
    judged,
    knows_minima,
    knows_relaxed,
    usual_conformers,
    weigher_name,
)
from molgeo.predictor import Predictor, checkpoint
from molgeo.predictor.calibration import Calibration, calibration_of
from molgeo.predictor.familiarity import Familiarity
from molgeo.predictor.header import Facts
from molgeo.runtime.device import (
    PAIRS,
    Arriving,
    BatchSize,
    bounded,
    choose,
    for_device,
    most_of_batch,
    one_behind,
    received,
    sent,
)
from molgeo.runtime.plain_text import one_line

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.descriptors import Descriptors
    from molgeo.prediction.settings import PredictSettings
    from molgeo.prediction.weighed import WeighedRows
    from molgeo.simulation.engine import GeometryEngine


Form = tuple[bytes, bytes, int]


def form(molecule: Molecule) -> Form:
    """What a model sees of a molecule: equal for all its spellings."""
    z, pos = molecule.canonical()
    return z.tobytes(), pos.tobytes(), molecule.charge


class Values(dict[str, float]):
    """Values of one molecule by key.

    Attributes:
        signals: how far it is from the training data, by `molgeo.predictor.familiarity.SIGNALS`;
            None if the model does not know.
        strange: properties whose values no molecule has: how far beyond sense each is.
    """

    signals: tuple[float, ...] | None = None
    strange: Mapping[str, float] = MappingProxyType({})


class BatchPredictor:
    """A model on its device, which predicts molecules in batches. It is loaded when it is needed.

    Args:
        model: name of a shipped model, path of a checkpoint, or a predictor, which is set to
            evaluation mode.
        device: "cpu", "cuda", or "auto": where a given predictor is, else the fastest there is.
        batch_size: most molecules of a batch; "auto" bounds the work of a batch instead.

    Attributes:
        device: on which it computes.
        max_pairs: bound on Σ n² over the molecules of a batch, if there is no ``batch_size``.
        name: of the model.
        path: of its checkpoint; None for a predictor that was given.
        sha256: of that file; "" if a predictor was not loaded from one.
        header: of its checkpoint.
        outputs: what it predicts: properties and atomization energies, by name.
        elements: atomic numbers of its training data; None if it does not say.
        keys: names of those that `values` returns; all, until it is changed.
        kept: features of the atoms of molecules that were predicted, by `form`, in the order of
            their canonical form; None, until it is changed, to keep none.

    Raises:
        ValueError: a device that is not there, a bad batch size, or a file that is no checkpoint.
    """

    def __init__(
        self, model: str | Path | Predictor, device: str = "auto", batch_size: BatchSize = "auto"
    ) -> None:
        self.batch_size = most_of_batch(batch_size)
        self._model = model
        self.path: Path | None = None
        self.header: Facts
        if isinstance(model, torch.nn.Module):
            here = next(model.parameters(), torch.empty(0)).device
            self.device = here if device == "auto" else choose(device)
            self.name, self.outputs, domain = model.name, model.outputs, model.domain
            self.header = getattr(model, "header", Facts())
            self.sha256 = getattr(model, "sha256", "")
        else:
            self.device = choose(device)
            header = checkpoint.read_header(model)
            self.path = checkpoint.find(model)
            self.name, self.outputs, self.header = self.path.stem, header.outputs, header
            domain = header.domain
            self.sha256 = checkpoint.sha256(model)
        self.elements = None if domain is None else frozenset(domain.elements)
        self.max_pairs = for_device(PAIRS, self.device)
        self.keys = list(self.outputs)
        self.kept: dict[Form, NDArray[np.float32]] | None = None

    @cached_property
    def predictor(self) -> Predictor:
        """The model, in evaluation mode on its device."""
        model = self._model
        loaded = model if isinstance(model, torch.nn.Module) else checkpoint.load(model)
        return loaded.eval().to(self.device)

    @property
    def _familiarity(self) -> Familiarity | None:
        """The model's record of its training data's features, if it has one."""
        return getattr(self.predictor, "familiarity", None)

    @property
    def _takes_charge(self) -> bool:
        """Whether the model's values depend on the charges of molecules."""
        return getattr(getattr(self.predictor, "backbone", None), "takes_charge", False)

    @cached_property
    def descriptors(self) -> Descriptors | None:
        """What the model takes of a molecule's bonds, if it does.

        Raises:
            InputError: this version of RDKit does not have it.
        """
        if not (wanted := getattr(self.predictor, "descriptors", ())):
            return None
        from molgeo.chem.descriptors import Descriptors

        return Descriptors(wanted)

    def composition_refusal(self, z: list[int], charge: int) -> str | None:
        """Why the model would refuse a molecule, whatever its coordinates, or None."""
        domain = self.predictor.domain
        return None if domain is None else domain.check(z, charge=charge)

    def refusal(self, molecules: list[Molecule]) -> str | None:
        """Why the model must not see a molecule (any of its conformers), or None."""
        domain = self.predictor.domain
        for molecule in molecules:
            z, charge = molecule.z.tolist(), molecule.charge
            reason = check_geometry(molecule)
            if reason is None and domain is not None:
                reason = domain.check(z, charge=charge)
            reason = reason or check_bonds(molecule)
            if reason is None and domain is not None:
                reason = domain.check(z, molecule.pos, charge)
            if reason is None and self.descriptors:
                from molgeo.chem.descriptors import bonds_refusal

                reason = bonds_refusal(molecule)
            if reason is not None:
                return reason
        return None

    def reasons(
        self, molecule: Molecule, signals: Sequence[float] | None = None
    ) -> tuple[str, ...]:
        """Why the model does not know such molecules, one phrase each; none inside its domain.

        Args:
            molecule: one of its conformers.
            signals: of the molecule; None if the model tells none.
        """
        domain, known = self.predictor.domain, self._familiarity
        far = () if known is None or signals is None else known.reasons(signals)
        if domain is None:
            return far
        is_given = molecule.geometry.startswith("given")
        moved = knows_minima(self.header) and is_distorted(molecule.geometry)
        found = domain.judge(molecule.z.tolist(), molecule.pos, is_given)
        return (*([NO_MINIMUM] if moved else []), *found, *far)

    def is_larger(self, signals: Sequence[float] | None) -> bool:
        """Whether a molecule is larger than those that the model's errors were measured on."""
        known = self._familiarity
        return known is not None and signals is not None and known.is_larger(signals)

    def is_far(self, signals: Sequence[float] | None) -> bool:
        """Whether a molecule's features are far from those of training, or it is larger."""
        known = self._familiarity
        is_far = known is not None and signals is not None and bool(known.reasons(signals))
        return is_far or self.is_larger(signals)

    def values(self, molecules: list[Molecule]) -> list[Values | str]:
        """Predict molecules, batched by size.

        Args:
            molecules: that `refusal` has nothing against; of any number.

        Returns:
            Each molecule's values by key, or why it has none, in the order of ``molecules``.
        """
        values: list[Values | str] = [""] * len(molecules)
        by_size = sorted(range(len(molecules)), key=lambda k: molecules[k].n_atoms)
        costs = [1 if self.batch_size else molecules[k].n_atoms ** 2 for k in by_size]

        def begun(part: slice) -> tuple[list[int], Arriving | None]:
            batch = by_size[part]
            with suppress(Exception):  # one of them is the culprit: the others must not suffer
                return batch, self._begun([molecules[k] for k in batch])
            return batch, None

        parts = bounded(costs, self.batch_size or self.max_pairs)
        for batch, arriving in one_behind(map(begun, parts)):
            results = [Values() for _ in batch]
            with suppress(Exception):
                results = self._read(arriving) if arriving is not None else results
            for k, result in zip(batch, results, strict=True):
                values[k] = result if self._is_sound(result) else self._alone(molecules[k])
        return values

    def _begun(self, molecules: list[Molecule]) -> Arriving:
        """Run the model on one batch; its values are (molecules, keys)."""
        forms = [m.canonical() for m in molecules]
        z = torch.from_numpy(np.concatenate([z for z, _ in forms]))
        # Centred in float64: far from the origin a float32 has no digits left for bond lengths.
        pos = torch.from_numpy(np.concatenate([pos - pos.mean(axis=0) for _, pos in forms]))
        sizes = torch.tensor([m.n_atoms for m in molecules])
        batch = torch.repeat_interleave(torch.arange(len(molecules)), sizes)
        weights = next(self.predictor.parameters(), torch.empty(0))
        with torch.no_grad():
            inputs = {"z": z, "pos": pos.to(weights.dtype), "batch": batch}
            if self._takes_charge:
                inputs["charge"] = torch.tensor([m.charge for m in molecules])
            if self.descriptors:
                inputs["descriptors"] = torch.from_numpy(self.descriptors.of_rows(molecules))
            there = {name: sent(tensor, self.device) for name, tensor in inputs.items()}
            found = self.predictor.judged(**there)  # type: ignore[arg-type]
        if self.kept is not None and found.features is not None:
            each = found.features.float().cpu().split(sizes.tolist())
            names = map(form, molecules)
            self.kept |= {name: own.numpy() for name, own in zip(names, each, strict=True)}
        return received(found.table(self.keys))

    def _read(self, arriving: Arriving) -> list[Values]:
        """Values by key of each molecule of a batch."""
        found, names = [], [key for key, one in self.outputs.items() if one.total is None]
        n, end = len(self.keys), len(self.keys) + len(names)
        for row in arriving().tolist():
            values = Values(zip(self.keys, row[:n], strict=True))
            values.strange = {name: x for name, x in zip(names, row[n:end], strict=True) if x > 1}
            values.signals = tuple(row[end:]) or None
            found.append(values)
        return found

    def _is_sound(self, values: Values) -> bool:
        """Whether all properties are numbers that molecules have.

        An atomization energy may lack its free atoms.
        """
        known = (v for k, v in values.items() if self.outputs[k].total is None)
        return bool(values) and all(map(math.isfinite, known)) and not values.strange

    def _alone(self, molecule: Molecule) -> Values | str:
        """Run the model on one molecule that failed in its batch."""
        try:
            (values,) = self._read(self._begun([molecule]))
        except Exception as error:
            return f"the model failed on this molecule: {one_line(error) or type(error).__name__}"
        if self._is_sound(values):
            return values
        bad = [key for key in self.keys if not math.isfinite(values[key])]
        if bad:
            return f"the model gave no finite value of {', '.join(bad)}: check the geometry"
        return self._strange(values)

    def _strange(self, values: Values) -> str:
        """Why values that no molecule has are no prediction, by the worst of them."""
        worst, others = max(values.strange, key=values.strange.__getitem__), len(values.strange) - 1
        value = f"{values[worst]:.4g} {self.outputs[worst].unit}" if worst in values else "absurd"
        also = f", and {others} more of its properties are as absurd" if others else ""
        return (
            f"the model knows no such molecule: its {worst} came out as {value.rstrip()}{also}; "
            "check the geometry, or take another model"
        )


class ChosenModels:
    """The models of a run: one that the user names, or the defaults for each kind of rows.

    Args:
        settings: of the run; without a model, each default is loaded with the first row for it.

    Attributes:
        n_conformers: that are made of a SMILES.
        given: for given geometries, and for those that the engine relaxed.
        made: for geometries of a cheap force field; often the same.
        outside: for molecules with elements that ``given`` was not trained on, and for those that
            it or ``made`` turns out not to know; None for none.
        engine: relaxes the conformers of SMILES; None if they stay at the cheap force field's.
        weigher: says which conformers of SMILES labels are of; None if nobody does.
    """

    def __init__(self, settings: PredictSettings) -> None:
        def model(name: str | Path | Predictor) -> BatchPredictor:
            return BatchPredictor(name, settings.device, settings.batch_size)

        self._asked = settings.geometry
        self.outside: BatchPredictor | None = None
        self.engine: GeometryEngine | None = None
        if settings.model is None:
            self.given = model(checkpoint.DEFAULT_MODEL)
            self.made = model(checkpoint.DEFAULT_SMILES_MODEL)
            self.outside = model(checkpoint.DEFAULT_OUTSIDE)
        else:
            self.given = self.made = model(settings.model)
            _ = self.given.descriptors  # what is wrong is said before a file is opened
        weigher = weigher_name(self.made.header) if settings.weighs else None
        usual = 1 if settings.fast else usual_conformers(weigher)
        asked = settings.conformers
        self.n_conformers = usual if asked is None else int(asked)
        self.weigher: WeighedRows | None = None
        if weigher is not None and self.n_conformers > 1:
            from molgeo.prediction.weighed import WeighedRows

            self.weigher = WeighedRows(model(weigher))
        engine = None if settings.fast else checkpoint.geometry_engine()
        if engine is not None and knows_relaxed(self.given.header):
            from molgeo.prediction.relaxed import RelaxedRows
            from molgeo.simulation.engine import GeometryEngine

            self.engine = GeometryEngine(engine, settings.device)
            self._relaxed = RelaxedRows(self.engine)

    @property
    def of_smiles(self) -> BatchPredictor:
        """For what is made of SMILES, unless the engine fails with it."""
        return self.made if self.engine is None else self.given

    @property
    def all(self) -> list[BatchPredictor]:
        """Each model once."""
        each = (self.given, self.made, self.outside)
        return [one for one in dict.fromkeys(each) if one]

    def errors(self, model: BatchPredictor, geometry: str, names: Set[str]) -> Calibration | None:
        """What is known of the errors of values.

        Args:
            model: that gives them.
            geometry: of the row.
            names: of the properties; errors of some of them alone do not count.
        """
        # At geometries of a force field models are measured from SMILES alone.
        is_made = not geometry.startswith(GIVEN) or self.is_relaxed(geometry)
        is_made = is_made or (model is self.made and model is not self.given)
        is_made = is_made or (model is self.outside and fits_cheap(geometry))
        engine = self.engine.name if self.engine and self.is_relaxed(geometry) else ""
        n = self.n_conformers if is_made else 0
        # The conformer of given coordinates is known: there the relaxed one alone is better.
        has_partner = engine and model is not self.made and not geometry.startswith(GIVEN)
        partners = (self.made.name, "") if has_partner else ("",)
        for partner in partners:
            known = calibration_of(model.header.calibration, n, engine, partner)
            if known and names <= known.scales.keys():
                return known
        return None

    def is_relaxed(self, geometry: str) -> bool:
        """Whether the engine made coordinates, by a row's geometry."""
        return self.engine is not None and geometry.endswith(f"+{self.engine.name}")

    def composition_refusal(self, z: list[int], charge: int) -> str | None:
        """Why no model would take a molecule of a SMILES, whatever its coordinates, or None."""
        return (self._of_elements(z) or self.of_smiles).composition_refusal(z, charge)

    def _of_elements(self, z: Iterable[int]) -> BatchPredictor | None:
        """The model for a molecule with elements that ``given`` lacks; None if it has none."""
        known = self.given.elements
        return None if known is None or known.issuperset(z) else self.outside

    def weighed(self, window: list[Built]) -> list[Built]:
        """Rows with the conformers that count and how much, if a model knows that."""
        return window if self.weigher is None else self.weigher(window)

    def checked(
        self, window: list[Built]
    ) -> tuple[list[Built], list[BatchPredictor], list[str | None]]:
        """Rows with the sources of their coordinates, the model for each, and why it refuses it."""
        if self.engine is not None:
            window = self._relaxed(window)
        models = [self._fitting(built) for built in window]
        reasons = list(map(_refusal, models, window))
        if knows_minima(self.given.header):
            window = judged(window, [reason is None for reason in reasons])
        for k, built in enumerate(window):
            model = self._fitting(built)
            if model is not models[k]:
                models[k], reasons[k] = model, _refusal(model, built)
        return window, models, reasons

    def _fitting(self, built: Built) -> BatchPredictor:
        """The model for a row's geometry; coordinates that are to be taken as given are."""
        if not isinstance(built, list):
            return self.of_smiles if built.smiles else self.given
        if (model := self._of_elements(built[0].z.tolist())) is not None:
            return model
        geometry, is_asked = built[0].geometry, self._asked == GIVEN
        fits = is_asked or not fits_cheap(geometry)
        is_relaxed = self.is_relaxed(geometry) or (is_as_given(geometry) and fits)
        return self.given if is_relaxed else self.made


def _refusal(model: BatchPredictor, built: Built) -> str | None:
    """Why a model must not see a row's molecule, or None; a bad row has its own reason."""
    return model.refusal(built) if isinstance(built, list) else None
