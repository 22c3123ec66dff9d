"""What a training run is made of: the keys of ``configs/*.yaml`` and their checks.

A run's key ``data`` names its kind of data, which brings keys of its own. A kind is one module with
a `molgeo.training.task.Task`; that of a stranger is named by its import path.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.runtime.other_code import imported
from molgeo.runtime.plain_text import nearest, one_line, say, shown
from molgeo.runtime.precision import MatmulPrecision
from molgeo.runtime.validation import (
    Amount,
    Count,
    Fraction,
    ProperFraction,
    Seed,
    Settings,
    Several,
)
from molgeo.training.naming import check_file_name, check_set_name, data_name
from molgeo.training.yaml_text import parse_yaml, read_yaml

KINDS: Final = {
    "qm9": ("molgeo.training.qm9.QM9Task", "properties of QM9, as `molgeo data prepare` makes it"),
    "forces": ("molgeo.training.forces.ForceTask", "energies and forces of the files in data_file"),
    "table": ("molgeo.training.table.TableTask", "values of molecules: data_file and targets"),
}
"""Kinds of data: name → import path of its task, and what it needs."""


def _whole_name(precision: Any) -> Any:
    return {"32": "32-true", "64": "64-true"}.get(str(precision), precision)


Precision = Annotated[
    Literal["32-true", "64-true", "16-mixed", "bf16-mixed"], BeforeValidator(_whole_name)
]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
Strategy = Literal["auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"]
"""Lightning's, as far as a run takes them: checked before anything is written."""

Limit = Annotated[int, Field(ge=-1, le=10**12)]
FileName = Annotated[str, AfterValidator(check_file_name)]


class RunConfig(Settings):
    """What all training runs share.

    Attributes:
        data: kind of data, which brings keys of its own, or the import path of a task.
        run_dir: folder of the run: resolved configuration, log, states to resume from, the
            exported model.
        name: name of the exported model, a file in ``run_dir``; empty for MODEL-DATA, if that is
            not a shipped model's.
        seed: of weights and shuffling.
        start_from: checkpoint whose backbone, and heads of the same properties, the run starts
            from, a shipped name or a path; empty for fresh ones. The model, its fields and the
            width of its heads are then the checkpoint's.
        keep_references: keep the checkpoint's baseline, scale and free atoms too, instead of
            fitting them to this run's data: for data of the very same level of theory.
        heads_first: epochs for which the heads alone are fitted at the start, to the features of
            the checkpoint's backbone; 0 for none.
        model: backbone, as ``molgeo models`` lists them.
        backbone: fields of the backbone's config that differ from the paper's.
        head_features: hidden width of each property's head.
        repulsion: add the repulsion of screened nuclei to the first energy, so that atoms never
            fuse; it vanishes at the lengths of bonds.
        batch_size: molecules per step (on each device).
        epoch_size: molecules per epoch, at whose end there is a validation; 0 for the whole
            training part. If it is fewer, successive epochs go on through the data.
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
        precision: Lightning's: ``32-true``, ``64-true``, ``bf16-mixed`` or ``16-mixed``. Weights of
            16 bits would lose what a step changes. The exported weights are always float32.
        matmul_precision: of float32 matrix products: ``medium`` multiplies in bfloat16.
        accelerator: Lightning's: ``auto``, ``cpu``, ``gpu``.
        devices: devices to train on.
        strategy: Lightning's: ``auto``, ``ddp`` …
        replay: make whole steps on batches padded to fixed shapes, which a CUDA device replays
            from one recording: ``auto``, on one CUDA device in ``32-true`` or ``bf16-mixed``; true,
            on one device of any kind; false, never. The results differ by rounding.
        threads: CPU threads; 0 for torch's choice.
        save_every_steps: steps between states to resume from.
        log_every_steps: steps between rows of the training loss in the log.
        logger: ``csv``, ``tensorboard`` or ``wandb``.
    """

    data: str
    run_dir: str = "runs/molgeo"
    name: FileName = ""
    seed: Seed = 42
    start_from: str = ""
    keep_references: bool = False
    heads_first: Count = 0
    model: str = "schnet"
    backbone: dict[str, Any] = Field(default_factory=dict)
    head_features: Annotated[int, Field(ge=1, le=4096)] = 64
    repulsion: bool = False
    batch_size: Several = 64
    epoch_size: Count = 0
    max_epochs: Limit = 100
    max_steps: Limit = -1
    max_minutes: Amount = 0.0
    limit_train: Count = 0
    limit_validation: Count = 0
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: Amount = 1e-3
    weight_decay: Amount = 0.01
    amsgrad: bool = False
    warmup_steps: Count = 500
    schedule: Literal["cosine", "stable", "exponential", "constant"] = "cosine"
    decay_fraction: Fraction = 0.3
    decay_rate: Amount = 0.01
    decay_steps: Several = 4_000_000
    ema_decay: Fraction = 0.999
    clip_norm: Amount = 5.0
    patience: Count = 0
    precision: Precision = "32-true"
    matmul_precision: MatmulPrecision = "highest"
    accelerator: Accelerator = "auto"
    devices: Several = 1
    strategy: Strategy = "auto"
    replay: bool | Literal["auto"] = "auto"
    threads: Count = 0
    save_every_steps: Several = 500
    log_every_steps: Several = 50
    logger: Literal["csv", "tensorboard", "wandb"] = "csv"

    @model_validator(mode="after")
    def _is_possible(self) -> RunConfig:
        """Refuse, before data are read, a model that cannot be built or loaded again."""
        from molgeo.predictor.checkpoint.outline import outline_of

        names = ("backbone", "head_features", "repulsion")
        fields = {name: getattr(self, name) for name in names}
        outline_of({"model": self.model, "properties": self.learned, **fields})
        check_file_name(self.model_name)
        if self.replay is True:
            for name, value in (("devices", 1), ("strategy", "auto")):
                if getattr(self, name) != value:
                    raise SettingError(
                        f"replay: steps are replayed on one device, got {name} "
                        f"{getattr(self, name)}; leave replay out or set it to false"
                    )
            if self.precision == "16-mixed":
                raise SettingError(
                    "replay: in 16-mixed the size of each gradient decides what a step does; leave "
                    "replay out, or try precision bf16-mixed"
                )
        return self

    def batches(self, first_step: int) -> dict[str, int]:
        """Arguments of a `molgeo.data.datamodule.FlatDataModule`.

        Args:
            first_step: steps that a resumed run has behind it.
        """
        names = ("batch_size", "seed", "limit_train", "limit_validation", "epoch_size")
        return {"first_step": first_step, **{name: getattr(self, name) for name in names}}

    @property
    def learned(self) -> tuple[Property, ...]:
        """Properties that the model will have."""
        raise TypeError(f"{type(self).__name__} does not say what is learned")

    @property
    def set_name(self) -> str:
        """Name of the data set, for the model's name and its card."""
        raise TypeError(f"{type(self).__name__} does not name its data")

    @property
    def model_name(self) -> str:
        """Name of the exported model."""
        return self.name or f"{self.model.rpartition('.')[2]}-{self.set_name}"


def _one_or_more(files: Any) -> Any:
    return [files] if isinstance(files, str) else files


Files = Annotated[list[str], BeforeValidator(_one_or_more)]
"""Paths, of which a single one needs no list."""


class FilesConfig(RunConfig):
    """A run on a user's files.

    Attributes:
        data_file: files to train on.
        data_name: of the data set, for the model's name and card; empty for that of the files.
        level_of_theory: of the labels, for the model's card.
        validation_fraction: part of the molecules to validate on, if the files name none.
        test_fraction: part of the molecules to test on, if the files name none.
        split_seed: of the split.
    """

    data_file: Annotated[Files, Field(min_length=1)]
    data_name: Annotated[str, AfterValidator(check_set_name)] = ""
    level_of_theory: str = ""
    validation_fraction: ProperFraction = 0.05
    test_fraction: ProperFraction = 0.05
    split_seed: Seed = 42

    @model_validator(mode="before")
    @classmethod
    def _named_by_its_files(cls, fields: Any) -> Any:
        files = _one_or_more(fields.get("data_file"))
        are_names = isinstance(files, list) and all(isinstance(file, str) for file in files)
        if fields.get("data_name") or not files or not are_names:
            return fields
        return {**fields, "data_name": data_name(files)}

    @property
    def set_name(self) -> str:
        """The user's, or that of the files."""
        return self.data_name


def task_class(data: Any) -> type[Any]:
    """The task of a kind of data.

    Args:
        data: name of the kind, or the import path of a `Task`.

    Raises:
        SettingError: there is no such kind; the message lists the kinds and what each needs.
    """
    path = KINDS[data][0] if data in tuple(KINDS) else data if isinstance(data, str) else ""
    module, _, name = path.rpartition(".")
    is_file = "/" in path or Path(path).is_file()
    if not module or is_file:
        hint = "; files are named by data_file, beside the kind" if is_file else ""
        raise SettingError(f"data: expected a kind of data: {_kinds()}; got {_got(data)}{hint}")
    found = imported(f"data: {shown(data)}", lambda: getattr(importlib.import_module(module), name))
    config = getattr(found, "config_class", None)  # `Task`, which imports this module, has one
    if not (isinstance(config, type) and issubclass(config, RunConfig)):
        raise SettingError(
            f"data: expected the import path of a Task whose config_class extends RunConfig, got "
            f"{shown(data)}"
        )
    return found


def _got(data: Any) -> str:
    return "nothing" if data is None else shown(data) + nearest(str(data), KINDS)


def _kinds() -> str:
    return "; ".join(f"{kind} ({needs})" for kind, (_, needs) in KINDS.items())


def config_from(fields: dict[str, Any]) -> RunConfig:
    """The config of a run from its keys; ``data`` says which there are.

    Raises:
        SettingError: ``data`` is no kind, a key is unknown or a value means nothing.
    """
    kind = _config_class(fields)
    for key in fields.keys() - kind.model_fields.keys():
        others = (other for other in KINDS if key in task_class(other).config_class.model_fields)
        hint = nearest(str(key), kind.model_fields)
        hint = next((f"; it is one of data: {other}" for other in others), hint)
        raise SettingError(f"'{one_line(key, 60)}': no such key of data: {fields['data']}{hint}")
    return kind(**fields)


def _config_class(fields: dict[str, Any]) -> type[RunConfig]:
    data = fields.get("data")
    # Files were once named by this key. What is nearly a kind is a slip.
    is_name = data is not None and "." not in str(data) and not nearest(str(data), KINDS)
    if data not in tuple(KINDS) and fields.get("data_file") and (is_name or data is None):
        named = f", data_name: {one_line(data, 60)}" if is_name else ""
        raise SettingError(
            f"data: expected a kind of data beside data_file, got {_got(data)}; for files of "
            f"energies and forces write data: forces{named}; for values of molecules data: table, "
            "with targets"
        )
    return task_class(data).config_class


def read_config(path: str | Path | None, assignments: Sequence[str] = ()) -> RunConfig:
    """Read a config as ``molgeo train --config`` does.

    Args:
        path: of the YAML file; None for assignments alone.
        assignments: ``key=value``, the value in YAML; ``backbone.n_blocks=3`` is a key of a key.

    Raises:
        FileNotFoundError: there is no such file.
        SettingError: it is no config, a key is unknown, or a value means nothing.
    """
    theirs = {} if path is None else read_yaml(path)
    if not isinstance(theirs, dict):
        raise SettingError(f"{path}: expected the keys of a run, got {shown(theirs)}")
    fields = {k: dict(v) if isinstance(v, dict) else v for k, v in theirs.items()}
    texts = {}
    for assignment in assignments:
        key, is_one, texts[key] = assignment.partition("=")
        if not is_one:
            raise SettingError(f"expected key=value, got {shown(assignment)}")
        *outer, name = key.split(".")
        inner = fields
        for one in outer:
            inner = inner.setdefault(one, {})
            if not isinstance(inner, dict):
                raise SettingError(
                    f"{one}: expected a key with keys of its own, got {shown(inner)}"
                )
        inner[name] = parse_yaml(texts[key], name)
    fields = _of_own_files(fields, theirs)
    known = _config_class(fields).model_fields
    for key in fields.keys() & texts.keys() & known.keys():
        if known[key].annotation is str and not isinstance(fields[key], str):
            fields[key] = texts[key]  # a name that YAML takes for a number
    return config_from(fields)


def _of_own_files(fields: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The keys of a run without what its config file says of other data.

    Files of the same names in another folder are the same data.
    """

    def of(keys: dict[str, Any]) -> tuple[Any, list[str]]:
        files = keys.get("data_file") or []
        files = files if isinstance(files, list) else [files]
        return keys.get("data"), [Path(str(file)).name for file in files]

    said = ("name", "data_name", "level_of_theory")
    left = [key for key in said if theirs.get(key) and fields[key] == theirs[key]]
    (kind, files), (their_kind, their_files) = of(fields), of(theirs)
    is_same = kind == their_kind and (files == their_files or not their_files)
    if is_same or their_kind is None or not left:
        return fields
    listed = ", ".join(f"{key} '{one_line(theirs[key], 60)}'" for key in left)
    say(
        f"the data are not the config file's, whose {listed} {'are' if left[1:] else 'is'} "
        "left out; name those of your data"
    )
    return {key: value for key, value in fields.items() if key not in left}
