"""How good a model is: ``evaluate`` and ``calibrate``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse import ActionYesNo, Namespace

from molgeo.cli.command import Parser, command
from molgeo.runtime.errors import OK
from molgeo.runtime.options import option


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``molgeo evaluate``."""

    model: str | None = option(
        None, "shipped name or path; default: the shipped one for the geometry"
    )
    data: str = option(
        "qm9",
        "qm9, a file with energies and forces or with the model's properties, or the config.yaml "
        "of a run",
    )
    energy_unit: str = option("eV", "unit of energy in the file")
    length_unit: str = option("angstrom", "unit of length in the file")
    force_unit: str = option("", "unit of force; default: energy over length")
    split: str = option("test", "part of the data set", Literal["train", "validation", "test"])
    geometry: str = option(
        "dft",
        "dft: of the data set; mmff: MMFF94 from there; smiles: from the SMILES; flat: from the "
        "SMILES without its stereo",
        Literal["dft", "mmff", "smiles", "flat"],
    )
    conformers: int | None = option(None, "conformers per SMILES; 8 if not given", int | None)
    limit: int = option(0, "molecules to evaluate; 0 for all")
    device: str = option("auto", "device to compute on: auto, cpu, cuda …")
    matmul_precision: str = option(
        "highest",
        "precision of matrix products; medium multiplies in bfloat16",
        Literal["highest", "high", "medium"],
    )
    data_dir: str | None = option(None, "folder of the data sets")


def _check_units(parser: Parser) -> None:
    parser.add_argument(
        "--check-units",
        default=True,
        action=ActionYesNo(no_prefix="no-"),
        nargs="?",
        help="refuse units with which the numbers of the file are implausible",
    )


@dataclass(frozen=True)
class CalibrateOptions:
    """Options of ``molgeo calibrate``."""

    model: str = option(None, "path of a checkpoint, which is rewritten", str, required=True)
    data: str | None = option(
        None, "qm9, or the config.yaml of the run that trained the model; default: that of QM9"
    )
    limit: int = option(2000, "validation and test molecules; 0 for all")
    data_dir: str | None = option(None, "folder of the data sets")


@command("molgeo evaluate --data qm9 --split test --limit 1000", EvaluateOptions, _check_units)
def evaluate(options: Namespace) -> int:
    """Errors of a model on a data set, as JSON."""
    from molgeo.prediction.conformer_average import CONFORMERS
    from molgeo.predictor.checkpoint import DEFAULT_MODEL, DEFAULT_SMILES_MODEL, load
    from molgeo.runtime.device import choose
    from molgeo.runtime.progress import progress

    options.conformers = CONFORMERS if options.conformers is None else options.conformers
    default = DEFAULT_MODEL if options.geometry == "dft" else DEFAULT_SMILES_MODEL
    predictor = load(options.model or default).to(choose(options.device))
    with progress("evaluating") as report:
        settings = {"progress": report, "precision": options.matmul_precision}
        result = _errors(predictor, options, settings)
    print(json.dumps(result, indent=2))
    return OK


def _errors(predictor: Any, options: Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Errors of a model on what ``--data`` names."""
    if options.data == "qm9":
        from molgeo.data.location import data_dir
        from molgeo.evaluation import qm9

        return qm9.evaluate(
            predictor,
            data_dir(options.data_dir) / "qm9",
            options.split,
            options.geometry,
            options.limit,
            conformers=options.conformers,
            **settings,
        )
    if options.data.endswith((".yaml", ".yml")):
        task = _task(options.data, options.check_units)
        return task.errors(predictor, options.split, limit=options.limit, **settings)
    if not _has_forces(options.data, predictor):
        from molgeo.training.table import errors_on_files

        files, conformers = [options.data], options.conformers
        return errors_on_files(predictor, files, conformers, options.limit, **settings)
    from molgeo.data.forces.dataset import Units
    from molgeo.evaluation.forces import evaluate_forces, file_part

    units = Units(options.energy_unit, options.length_unit, options.force_unit)
    molecules, rows, split = file_part(options.data, options.split, units, options.check_units)
    about = {"model": predictor.name, "data": options.data, "split": split, "geometry": "given"}
    found = evaluate_forces(predictor, molecules, rows[: options.limit or None], **settings)
    return {**about, **found}


def _has_forces(path: str, predictor: Any) -> bool:
    """Whether a file is one of energies and forces, by its kind and by what the model predicts."""
    has_molecules_only = path.endswith((".csv", ".tsv", ".txt", ".smi", ".sdf", ".parquet"))
    has_energy = any(one.is_energy for one in predictor.properties)
    return path.endswith(".npz") or (has_energy and not has_molecules_only)


def _task(data: str, units_are_checked: bool = True, data_dir: str = "") -> Any:
    """The task of a run's config, or of a kind of data that needs no more; its data are loaded."""
    from molgeo.training.config import config_from, read_config
    from molgeo.training.task import task_of

    is_file = data.endswith((".yaml", ".yml"))
    config = read_config(data) if is_file else config_from({"data": data, "data_dir": data_dir})
    if not units_are_checked and "check_units" in type(config).model_fields:
        config = config.model_copy(update={"check_units": False})
    task = task_of(config)
    task.data.setup()
    return task


@command("molgeo calibrate --model runs/X/X.safetensors --limit 2000", CalibrateOptions)
def calibrate(options: Namespace) -> int:
    """Measure errors on validation molecules, for a model's _std columns."""
    from molgeo.predictor.checkpoint import find, read_header, shipped
    from molgeo.runtime.errors import SettingError
    from molgeo.runtime.progress import progress
    from molgeo.training import export

    if options.model in shipped():
        raise SettingError(
            f"calibrate: {options.model} is shipped and calibrated; expected the path of a "
            "checkpoint, which is rewritten"
        )
    path, limit = find(options.model), options.limit
    data = options.data or read_header(path).training.get("data", "qm9")
    if data != "qm9" and not options.data:
        raise SettingError(
            "calibrate: expected --data, the config.yaml of the run that trained the model, "
            "got none"
        )
    task = _task(data, data_dir=options.data_dir or "")
    with progress("calibrating") as report:
        result = export.add_calibration(
            path,
            lambda predictor: task.calibrations(predictor, limit, report),
            lambda predictor: task.calibrated_errors(predictor, limit, report),
        )
    print(json.dumps(result, indent=2))
    return OK
