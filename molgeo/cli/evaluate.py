"""How good a model is: ``evaluate`` and ``calibrate``."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from jsonargparse import ActionYesNo, Namespace

from molgeo.cli.command import Command, Parser
from molgeo.runtime.exit_status import OK


def _evaluate_options(parser: Parser) -> None:
    from molgeo.prediction.conformer_average import CONFORMERS

    add = parser.add_argument
    add("--model", default=None, type=str | None, help="shipped name or path")
    add(
        "--data",
        default="qm9",
        type=str,
        help="qm9, a file with energies and forces, or the config.yaml of a run on forces",
    )
    add("--energy-unit", default="eV", type=str, help="of the file")
    add("--length-unit", default="angstrom", type=str, help="of the file")
    add("--force-unit", default="", type=str, help="of the file, such as hartree/bohr")
    add(
        "--check-units",
        default=True,
        action=ActionYesNo(no_prefix="no-"),
        nargs="?",
        help="refuse units with which the numbers of the file are implausible",
    )
    add("--split", default="test", type=Literal["train", "validation", "test"])
    add(
        "--geometry",
        default="dft",
        type=Literal["dft", "mmff", "smiles", "flat"],
        help="the data set's; MMFF94 from there; from the SMILES with its stereo; without",
    )
    add("--conformers", default=CONFORMERS, type=int, help="conformers per SMILES")
    add("--limit", default=0, type=int, help="molecules; 0 for all")
    add("--device", default="auto", type=str, help="auto, cpu, cuda …")
    add(
        "--matmul-precision",
        default="highest",
        type=Literal["highest", "high", "medium"],
        help="of matrix products; medium: bfloat16",
    )
    add("--data-dir", default=None, type=str | None, help="folder of the data sets")


def _calibrate_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--model", required=True, type=str, help="checkpoint, which is rewritten")
    add("--limit", default=2000, type=int, help="validation and test molecules; 0 for all")
    add("--data-dir", default=None, type=str | None, help="folder of the data sets")


def _evaluate(options: Namespace) -> int:
    from molgeo.data.location import data_dir
    from molgeo.evaluation.properties import evaluate
    from molgeo.predictor.checkpoint import DEFAULT_MODEL, DEFAULT_SMILES_MODEL, load
    from molgeo.runtime.device import choose
    from molgeo.runtime.progress import progress

    default = DEFAULT_MODEL if options.geometry == "dft" else DEFAULT_SMILES_MODEL
    predictor = load(options.model or default).to(choose(options.device))
    if options.data != "qm9":
        return _evaluate_forces(predictor, options)
    with progress("evaluating") as report:
        result = evaluate(
            predictor,
            str(data_dir(options.data_dir) / options.data),
            options.split,
            options.geometry,
            options.limit,
            progress=report,
            precision=options.matmul_precision,
            conformers=options.conformers,
        )
    print(json.dumps(result, indent=2))
    return OK


def _evaluate_forces(predictor: Any, options: Namespace) -> int:
    from molgeo.data.forces.dataset import Units
    from molgeo.evaluation.forces import evaluate_forces, file_part
    from molgeo.runtime.progress import progress

    split = options.split
    if options.data.endswith((".yaml", ".yml")):
        from molgeo.training.tasks import data_of_run

        molecules, rows = data_of_run(options.data, split, options.check_units)
    else:
        units = Units(options.energy_unit, options.length_unit, options.force_unit)
        molecules, rows, split = file_part(options.data, split, units, options.check_units)
    rows = rows[: options.limit or None]
    with progress("evaluating") as report:
        found = evaluate_forces(
            predictor, molecules, rows, progress=report, precision=options.matmul_precision
        )
    about = {"model": predictor.name, "data": options.data, "split": split, "geometry": "given"}
    print(json.dumps({**about, **found}, indent=2))
    return OK


def _calibrate(options: Namespace) -> int:
    from molgeo.data.location import data_dir
    from molgeo.evaluation.properties import calibrate, evaluate
    from molgeo.predictor.checkpoint import find, shipped
    from molgeo.runtime.errors import SettingError
    from molgeo.runtime.progress import progress
    from molgeo.training import export

    root, limit = data_dir(options.data_dir) / "qm9", options.limit
    if options.model in shipped():
        raise SettingError(
            f"calibrate: {options.model} is shipped and calibrated; expected the path of a "
            "checkpoint, which is rewritten"
        )

    def calibrations(predictor: Any) -> Any:
        with progress("calibrating") as report:
            return calibrate(predictor, root, limit, report)

    def errors(predictor: Any) -> Any:
        with progress("evaluating") as report:
            return evaluate(predictor, root, "test", "smiles", limit, progress=report)

    result = export.calibrate(find(options.model), calibrations, errors)
    print(json.dumps(result, indent=2))
    return OK


COMMANDS: Final = (
    Command(
        "evaluate",
        "Errors of a model on a data set, as JSON.",
        "molgeo evaluate --data qm9 --split test --limit 1000",
        _evaluate_options,
        _evaluate,
    ),
    Command(
        "calibrate",
        "Measure errors from SMILES on validation molecules, for a model's _std columns.",
        "molgeo calibrate --model runs/X/X.safetensors --limit 2000",
        _calibrate_options,
        _calibrate,
    ),
)
