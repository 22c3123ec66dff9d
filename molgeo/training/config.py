"""What a training run is made of; the keys of ``configs/*.yaml``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9 import properties as qm9
from molgeo.elements import SYMBOLS
from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.precision import MatmulPrecision
from molgeo.training.naming import check_name, data_name
from molgeo.training.ranges import MOST, check_number, check_numbers

Schedule = Literal["cosine", "stable", "exponential", "constant"]


@dataclass
class RunConfig:
    """What all training runs share.

    Attributes:
        run_dir: folder of the run: resolved configuration, log, states to resume from, the
            exported model.
        name: name of the exported model, a file in ``run_dir``; empty for MODEL-DATA, where that
            is not a shipped model's.
        seed: of weights and shuffling.
        data: name of the data set to train on; empty for ``qm9``, or for the name of the files in
            ``data_file``.
        start_from: checkpoint whose backbone, and heads of the same properties, the run starts
            from, a shipped name or a path; empty for fresh ones. The model, its fields and the
            width of its heads are then the checkpoint's.
        keep_references: keep the checkpoint's baseline, scale and free atoms too, instead of
            fitting them to this run's data: for data of the very same level of theory.
        model: backbone, as ``molgeo models`` lists them.
        backbone: fields of the backbone's config that differ from the paper's.
        head_features: hidden width of each property's head.
        batch_size: molecules a step (on each device).
        epoch_size: molecules an epoch, at whose end there is a validation; 0 for the whole
            training part. Where it is fewer, successive epochs go on through the data.
        max_epochs: epochs of the run.
        max_steps: steps after which to end all the same, with a validation; -1 for no limit.
        max_minutes: minutes after which to stop and leave a state to resume from; 0 for no limit.
        limit_train: molecules to train on; 0 for all.
        limit_validation: molecules to validate on; 0 for all.
        optimizer: ``adamw``, or ``muon`` for the matrices of hidden layers with AdamW for all else.
        learning_rate: peak.
        weight_decay: decoupled from the gradient.
        amsgrad: use the AMSGrad variant of AdamW.
        warmup_steps: steps of linear warm-up.
        schedule: ``cosine`` to zero over the run; ``stable``, constant, then linear to zero over
            the last ``decay_fraction``; ``exponential``, by ``decay_rate`` every ``decay_steps``;
            ``constant``.
        decay_fraction: part of the run in which ``stable`` decays.
        decay_rate: factor of ``exponential``.
        decay_steps: steps of ``exponential``.
        ema_decay: decay of the weights' moving average, which is validated and saved.
        clip_norm: largest norm of the gradient; 0 for no clipping.
        patience: validations without improvement after which to stop; 0 for never.
        precision: Lightning's: ``32-true``, ``bf16-mixed``, ``64-true`` …
        matmul_precision: of float32 matrix products: ``medium`` multiplies in bfloat16.
        accelerator: Lightning's: ``auto``, ``cpu``, ``gpu``.
        devices: devices to train on.
        strategy: Lightning's: ``auto``, ``ddp`` …
        threads: CPU threads; 0 for torch's choice.
        save_every_steps: steps between states to resume from.
        log_every_steps: steps between rows of the training loss in the log.
        logger: ``csv``, ``tensorboard`` or ``wandb``.
    """

    run_dir: str = "runs/molgeo"
    name: str = ""
    seed: int = 42
    data: str = ""
    start_from: str = ""
    keep_references: bool = False
    model: str = "schnet"
    backbone: dict[str, Any] = field(default_factory=dict)
    head_features: int = 64
    batch_size: int = 64
    epoch_size: int = 0
    max_epochs: int = 100
    max_steps: int = -1
    max_minutes: float = 0.0
    limit_train: int = 0
    limit_validation: int = 0
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    amsgrad: bool = False
    warmup_steps: int = 500
    schedule: Schedule = "cosine"
    decay_fraction: float = 0.3
    decay_rate: float = 0.01
    decay_steps: int = 4_000_000
    ema_decay: float = 0.999
    clip_norm: float = 5.0
    patience: int = 0
    precision: str = "32-true"
    matmul_precision: MatmulPrecision = "highest"
    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    threads: int = 0
    save_every_steps: int = 500
    log_every_steps: int = 50
    logger: Literal["csv", "tensorboard", "wandb"] = "csv"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_numbers(self)
        _check_model(self)
        check_name("name" if self.name else "data", self.model_name)

    @property
    def model_name(self) -> str:
        """Name of the exported model."""
        return self.name or f"{self.model}-{self.data}"


@dataclass
class TrainingConfig(RunConfig):
    """A run on QM9.

    Attributes:
        data_dir: where data lie; empty for ``$MOLGEO_DATA``, a checkout's ``data/`` or the user's
            cache.
        geometry: of the molecules: ``dft``, the data set's own; ``mmff``, the same conformer at
            MMFF94; ``smiles``, conformers made from the SMILES; ``cheap``, both of these (``molgeo
            data prepare qm9 --conformers`` makes them).
        properties: what to predict; one for single-target training.
        loss_weights: property → weight in the loss; 1 where not given.
    """

    data_dir: str = ""
    geometry: Literal["dft", "mmff", "smiles", "cheap"] = "dft"
    properties: list[str] = field(default_factory=lambda: list(qm9.NAMES))
    loss_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        self.data = self.data or "qm9"
        if self.data != "qm9":
            raise SettingError(
                "data: expected 'qm9', or data_file to name the files of others, got "
                f"'{one_line(self.data, 60)}'"
            )
        super().__post_init__()
        for name, value in self.loss_weights.items():
            if name not in self.properties:
                raise SettingError(
                    f"loss_weights: expected some of {', '.join(self.properties)}, got "
                    f"'{one_line(name, 60)}'"
                )
            check_number(f"loss_weights.{name}", value, 0)

    @property
    def model_name(self) -> str:
        """Name of the exported model, which tells the geometry where it is not the data set's."""
        source = "" if self.geometry == "dft" else f"-{self.geometry}"
        return self.name or f"{self.model}-{self.data}{source}"


@dataclass
class ForceTrainingConfig(RunConfig):
    """A run on energies and forces.

    Attributes:
        data_file: files to train on: npz, extxyz, ASE databases.
        test_file: files of the test part; none to take it from ``data_file``.
        energy_unit: of the files: ``eV``, ``kcal/mol``, ``hartree`` …
        length_unit: of the files: ``angstrom``, ``bohr`` or ``nm``.
        force_unit: of the files, such as ``hartree/bohr``; empty for energy over length.
        atom_references: element → energy of the free atom in ``energy_unit``.
        energy_key: name of the energy in extxyz and other files of ASE; empty for the usual ones.
        force_key: name of the forces there; empty for the usual ones.
        check_units: refuse units with which the data are implausible.
        level_of_theory: of the labels, for the model's card.
        validation_fraction: part of the molecules to validate on, where the files name none.
        test_fraction: part of the molecules to test on, where the files name none.
        split_seed: of the split.
        energy_weight: of the energy error of an atom in the loss.
        force_weight: of the force error in the loss.
    """

    data_file: list[str] = field(default_factory=list)
    test_file: list[str] = field(default_factory=list)
    energy_unit: str = "eV"
    length_unit: str = "angstrom"
    force_unit: str = ""
    atom_references: dict[str, float] = field(default_factory=dict)
    energy_key: str = ""
    force_key: str = ""
    check_units: bool = True
    level_of_theory: str = ""
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    split_seed: int = 42
    energy_weight: float = 1.0
    force_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if not self.data_file:
            raise SettingError("data_file: expected one file or more, got none")
        self.data = self.data or data_name(self.data_file)
        if self.data.lower() == "qm9":
            raise ValueError(
                "data: 'qm9' is QM9's own properties, and this run is on the files in data_file; "
                "give these another name with --data"
            )
        super().__post_init__()
        if not self.energy_weight + self.force_weight > 0:
            raise SettingError("energy_weight, force_weight: expected one above 0, got 0 for both")
        for symbol, value in self.atom_references.items():
            if symbol not in SYMBOLS[1:]:
                raise SettingError(
                    f"atom_references: expected symbols of elements, got '{one_line(symbol, 60)}'"
                )
            check_number(f"atom_references.{symbol}", value, -MOST)


def config_from(fields: dict[str, Any]) -> TrainingConfig | ForceTrainingConfig:
    """The config of a run from the keys of both kinds: one with ``data_file`` is on forces.

    Args:
        fields: keys and values; those of the other kind must have their defaults.

    Raises:
        ValueError: a value means nothing, or a key belongs to the other kind.
    """
    is_force = bool(fields.get("data_file"))
    kind, other = (TrainingConfig, ForceTrainingConfig)[:: -1 if is_force else 1]
    own = {f.name for f in dataclasses.fields(kind)}
    for f in dataclasses.fields(other):
        factory = f.default_factory
        default = f.default if factory is dataclasses.MISSING else factory()
        if f.name not in own and fields.get(f.name, default) != default:
            hint = "has no meaning with data_file" if is_force else "needs data_file"
            raise SettingError(f"{f.name}: {hint}, got {fields[f.name]!r}")
    return kind(**{name: value for name, value in fields.items() if name in own})


def properties_of(config: RunConfig) -> tuple[Property, ...]:
    """What a run learns.

    Raises:
        ValueError: QM9 has no such property.
    """
    return qm9.named(config.properties) if isinstance(config, TrainingConfig) else (ENERGY,)


def _check_model(config: RunConfig) -> None:
    """Refuse a model that cannot be built, or could not be loaded again, before data are read."""
    from molgeo.predictor.checkpoint.outline import outline_of

    outline_of(
        {
            "model": config.model,
            "backbone": config.backbone,
            "properties": properties_of(config),
            "head_features": config.head_features,
        }
    )
