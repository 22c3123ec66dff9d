"""How good a model is: ``evaluate`` and ``calibrate``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from jsonargparse import ActionYesNo, Namespace

from molgeo.cli.command import Parser, command
from molgeo.runtime.errors import OK
from molgeo.runtime.options import option
from molgeo.runtime.plain_text import nearest

_UNITS: Final = ("energy_unit", "length_unit", "force_unit")


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
    energy_unit: str | None = option(None, "unit of energy in the file; eV if not given")
    length_unit: str | None = option(None, "unit of length in the file; angstrom if not given")
    force_unit: str | None = option(None, "unit of force; energy over length if not given")
    split: str | None = option(
        None,
        "part of the data set; test if not given",
        Literal["train", "validation", "test"] | None,
    )
    geometry: str | None = option(
        None,
        "dft: of the data set (if not given); mmff: MMFF94 from there; smiles: from the SMILES; "
        "flat: from the SMILES without its stereo; cheap ones are relaxed by the geometry engine "
        "for a model of relaxed molecules",
        Literal["dft", "mmff", "smiles", "flat"] | None,
    )
    conformers: int | None = option(
        None, "conformers per SMILES; as predict makes if not given", int | None
    )
    limit: int = option(0, "molecules to evaluate; 0 for all")
    device: str = option("auto", "device to compute on: auto, cpu, cuda …")
    matmul_precision: str = option(
        "highest",
        "precision of matrix products; medium multiplies in bfloat16",
        Literal["highest", "high", "medium"],
    )
    data_dir: str | None = option(None, "folder of the data sets")
    report: str | None = option(
        None, "file for a page of errors that a browser opens without a network, of qm9; .html"
    )
    force: bool = option(False, "replace a --report that is there")


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
        None,
        "qm9, the config.yaml of the run that trained the model, or of a force field the file that "
        "it was trained on; default: qm9",
    )
    limit: int = option(2000, "validation and test molecules; 0 for all")
    data_dir: str | None = option(None, "folder of the data sets")


@command("molgeo evaluate --data qm9 --split test --limit 1000", EvaluateOptions, _check_units)
def evaluate(options: Namespace) -> int:
    """Errors of a model on a data set, as JSON."""
    from molgeo.predictor.checkpoint import (
        DEFAULT_MODEL,
        DEFAULT_SMILES_MODEL,
        geometry_engine,
        load,
    )
    from molgeo.runtime.device import choose
    from molgeo.runtime.progress import progress
    from molgeo.runtime.whole_file import new_file

    if options.report is not None:
        from molgeo.prediction.output import PAGE

        new_file(options.report, PAGE, options.force, "--report")
    is_cheap, has_engine = options.geometry not in (None, "dft"), geometry_engine() is not None
    default = DEFAULT_SMILES_MODEL if is_cheap and not has_engine else DEFAULT_MODEL
    predictor = load(options.model or default).to(choose(options.device))
    partner = None
    if options.model is None and is_cheap and has_engine:
        partner = load(DEFAULT_SMILES_MODEL).to(choose(options.device))
    with progress("evaluating") as report:
        settings = {"progress": report, "precision": options.matmul_precision}
        result = _errors(predictor, options, settings, partner)
    level = predictor.header.level_of_theory
    about = {"model_sha256": predictor.sha256, "level_of_theory": level}
    result = {"model": predictor.name, **about, **result}
    print(json.dumps(result, indent=2))
    return OK


def _errors(
    predictor: Any, options: Namespace, settings: dict[str, Any], partner: Any = None
) -> dict[str, Any]:
    """Errors of a model on what ``--data`` names; those of QM9 with a partner if there is one."""
    from molgeo.data.location import data_dir

    data, split, limit = options.data, options.split or "test", options.limit
    if data == "qm9":
        from molgeo.evaluation import qm9

        chosen = _chosen(options, "split", "geometry", "conformers", "data_dir", "report")
        root = data_dir(chosen.pop("data_dir", "")) / "qm9"
        return qm9.evaluate(predictor, root, limit=limit, partner=partner, **chosen, **settings)
    if not Path(data).is_file():
        raise FileNotFoundError(
            f"{data} does not exist; expected qm9, a file of energies and forces or of the model's "
            f"properties, or the config.yaml of a run{nearest(data, ['qm9'])}"
        )
    if data.endswith((".yaml", ".yml")):
        task = _task(data, options.check_units, options.data_dir or "")
        of_config = {"check_units", "data_dir"} & set(type(task.config).model_fields)
        chosen = _chosen(options, "split", *task.measured_by, *of_config)
        given = {name: chosen[name] for name in task.measured_by if name in chosen}
        task.data.setup()
        return task.errors(predictor, split, limit=limit, **given, **settings)
    if not _has_forces(data, predictor):
        from molgeo.training.table import errors_on_files

        chosen = _chosen(options, "conformers", "data_dir")
        return errors_on_files(predictor, [data], limit=limit, **chosen, **settings)
    from molgeo.data.forces.dataset import Units
    from molgeo.evaluation.forces import evaluate_forces, file_part
    from molgeo.runtime.errors import SettingError

    chosen = _chosen(options, *_UNITS, "split", "check_units")
    units = Units(**{n.removesuffix("_unit"): chosen[n] for n in _UNITS if n in chosen})
    molecules, rows, found_split = file_part(data, split, units, options.check_units)
    if options.split and found_split == "all":
        raise SettingError(f"--split: {data} names no parts; leave it out to measure all frames")
    about = {"model": predictor.name, "data": data, "split": found_split, "geometry": "given"}
    found = evaluate_forces(predictor, molecules, rows[: limit or None], **settings)
    return {**about, **found}


def _chosen(options: Namespace, *taken: str) -> dict[str, Any]:
    """The options that were given, if the data take them all.

    Raises:
        SettingError: one is given that would do nothing.
    """
    from molgeo.runtime.errors import SettingError
    from molgeo.runtime.plain_text import one_line

    of_data = ("split", "geometry", "conformers", "data_dir", "report")
    all_given = {n: getattr(options, n) for n in (*of_data, *_UNITS)}
    given = {name: value for name, value in all_given.items() if value is not None}
    if not options.check_units:
        given["check_units"] = False
    for name in given:
        if name not in taken:
            known = ", ".join(f"--{one.replace('_', '-')}" for one in taken)
            raise SettingError(
                f"--{name.replace('_', '-')}: means nothing for --data "
                f"{one_line(options.data, 100)}, which takes {known}"
            )
    return given


def _has_forces(path: str, predictor: Any) -> bool:
    """Whether a file is one of energies and forces, by its kind and by what the model predicts."""
    from molgeo.chem.files.formats import by_ending, ending_of

    kind = by_ending().get(ending_of(Path(path)), "of ASE")
    may_hold_forces = kind in ("xyz", "extxyz", "db", "traj", "of ASE")
    has_energy = any(one.is_energy for one in predictor.properties)
    return path.endswith(".npz") or (has_energy and may_hold_forces)


def _task(
    data: str,
    units_are_checked: bool = True,
    data_dir: str = "",
    of_run: Mapping[str, Any] | None = None,
) -> Any:
    """The task of a run's config, or of a kind of data that needs no more.

    Args:
        data: the config's file, the kind of data, or the file with the data of a run.
        units_are_checked: as of a config.
        data_dir: as of a config.
        of_run: config of that run, as a header has it.
    """
    from molgeo.training.config import config_from, read_config
    from molgeo.training.task import task_of

    is_file = data.endswith((".yaml", ".yml"))
    fields = {**of_run, "data_file": [data]} if of_run else {"data": data}
    config = read_config(data) if is_file else config_from(fields)
    if data_dir and "data_dir" in type(config).model_fields:
        config = config.model_copy(update={"data_dir": data_dir})
    if not units_are_checked and "check_units" in type(config).model_fields:
        config = config.model_copy(update={"check_units": False})
    return task_of(config)


@command("molgeo calibrate --model runs/X/X.safetensors --limit 2000", CalibrateOptions)
def calibrate(options: Namespace) -> int:
    """Measure errors on validation molecules, for a model's _std columns and forces_std."""
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
    if not options.data and read_header(path).is_fit:
        raise SettingError(
            "calibrate: molgeo fit has measured this model's errors, on the folds of its rows"
        )
    data = options.data or read_header(path).training.get("data", "qm9")
    if data != "qm9" and not options.data:
        raise SettingError(
            "calibrate: expected --data, the config.yaml of the run that trained the model, "
            "got none"
        )
    is_file_of_data = Path(data).is_file() and not data.endswith((".yaml", ".yml"))
    if is_file_of_data and not read_header(path).trained_on_forces:
        raise SettingError(
            "calibrate: --data: expected qm9 or the config.yaml of the run that trained the model, "
            f"which says what its validation molecules are; got {data}"
        )
    of_run = read_header(path).training if is_file_of_data else {}
    task = _task(data, data_dir=options.data_dir or "", of_run=of_run)
    task.data.setup()
    with progress("calibrating") as report:
        result = export.add_calibration(
            path,
            lambda predictor: task.calibrations(predictor, limit, report),
            lambda predictor: task.calibrated_errors(predictor, limit, report),
        )
    print(json.dumps(result, indent=2))
    return OK
