"""How good a model is: ``evaluate`` and ``calibrate``."""

from __future__ import annotations

import json
from typing import Any, Literal

from jsonargparse import ActionYesNo, Namespace

from molgeo.cli.command import Parser, command
from molgeo.runtime.errors import OK


def _evaluate_options(parser: Parser) -> None:
    from molgeo.prediction.conformer_average import CONFORMERS

    add = parser.add_argument
    add(
        "--model",
        default=None,
        type=str | None,
        help="shipped name or path; default: the shipped one for the geometry",
    )
    add(
        "--data",
        default="qm9",
        type=str,
        help="qm9, a file with energies and forces or with the model's properties, or the "
        "config.yaml of a run",
    )
    add("--energy-unit", default="eV", type=str, help="unit of energy in the file")
    add("--length-unit", default="angstrom", type=str, help="unit of length in the file")
    add(
        "--force-unit",
        default="",
        type=str,
        help="unit of force; default: energy over length",
    )
    add(
        "--check-units",
        default=True,
        action=ActionYesNo(no_prefix="no-"),
        nargs="?",
        help="refuse units with which the numbers of the file are implausible",
    )
    add(
        "--split",
        default="test",
        type=Literal["train", "validation", "test"],
        help="part of the data set",
    )
    add(
        "--geometry",
        default="dft",
        type=Literal["dft", "mmff", "smiles", "flat"],
        help="dft: of the data set; mmff: MMFF94 from there; smiles: from the SMILES; flat: from "
        "the SMILES without its stereo",
    )
    add("--conformers", default=CONFORMERS, type=int, help="conformers per SMILES")
    add("--limit", default=0, type=int, help="molecules to evaluate; 0 for all")
    add("--device", default="auto", type=str, help="device to compute on: auto, cpu, cuda …")
    add(
        "--matmul-precision",
        default="highest",
        type=Literal["highest", "high", "medium"],
        help="precision of matrix products; medium multiplies in bfloat16",
    )
    add("--data-dir", default=None, type=str | None, help="folder of the data sets")


def _calibrate_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--model", required=True, type=str, help="path of a checkpoint, which is rewritten")
    add(
        "--data",
        default=None,
        type=str | None,
        help="qm9, or the config.yaml of the run that trained the model; by default that of QM9",
    )
    add("--limit", default=2000, type=int, help="validation and test molecules; 0 for all")
    add("--data-dir", default=None, type=str | None, help="folder of the data sets")


@command("molgeo evaluate --data qm9 --split test --limit 1000", _evaluate_options)
def evaluate(options: Namespace) -> int:
    """Errors of a model on a data set, as JSON."""
    from molgeo.predictor.checkpoint import DEFAULT_MODEL, DEFAULT_SMILES_MODEL, load
    from molgeo.runtime.device import choose
    from molgeo.runtime.progress import progress

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


@command("molgeo calibrate --model runs/X/X.safetensors --limit 2000", _calibrate_options)
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
    data = options.data or read_header(path).get("training", {}).get("data", "qm9")
    if data != "qm9" and not options.data:
        raise SettingError(
            "calibrate: expected --data, the config.yaml of the run that trained the model, "
            "got none"
        )
    task = _task(data, data_dir=options.data_dir or "")
    with progress("calibrating") as report:
        result = export.calibrate(
            path,
            lambda predictor: task.calibrations(predictor, limit, report),
            lambda predictor: task.calibrated_errors(predictor, limit, report),
        )
    print(json.dumps(result, indent=2))
    return OK
