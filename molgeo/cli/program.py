"""The command line: ``molgeo COMMAND``. Every command is a thin shell around one function.

Exit status: 0 done; 3 done, but some rows failed, a structure was not relaxed or a simulation was
stopped; 2 wrong usage or unreadable input; 1 anything else.

The class of an error decides: a `UserError` has a status of its own, and an error of a file is
the user's to mend too (2). All others are bugs, whose message tells of ``--debug``.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from argparse import SUPPRESS, Action, HelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter, Namespace

from molgeo.cli import moving as cli_moving
from molgeo.cli import predict as cli_predict
from molgeo.cli.config_option import ConfigOption
from molgeo.cli.data import add_compact, add_generators, run_compact, run_label, run_sample
from molgeo.runtime.errors import UserError
from molgeo.runtime.exit_status import FAILED, OK, USAGE
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.version import VERSION
from molgeo.runtime.warning_lines import tell_in_lines

EXAMPLES = {
    **cli_predict.EXAMPLES,
    **cli_moving.EXAMPLES,
    "train": "molgeo train --config configs/spectrum_net_qm9.yaml --max_epochs 10 --seed 1",
    "evaluate": "molgeo evaluate --data qm9 --split test --limit 1000",
    "calibrate": "molgeo calibrate --model runs/X/X.safetensors --limit 2000",
    "data prepare": "molgeo data prepare qm9 --conformers 2",
    "data compact": "molgeo data compact qm9 --output qm9_compact.safetensors",
    "data sample": "molgeo data sample molecules.smi --output structures.extxyz",
    "data label": "molgeo data label structures.extxyz --calculator xtb --output labelled.npz",
    "models": "molgeo models",
    "info": "molgeo info spectrum_net-qm9",
}

_OF_FILES = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)

_MOST = 600
"""Characters of a message."""

_LITERAL = re.compile(r"[Ee]xpected a (?:typing\.)?Literal\[([^]]*)\]")
_GIVEN = re.compile(
    r"unrecognized arguments: --([\w.-]+)|option '([\w.-]+)'|choice: '([\w-]+)'|value: ([\w-]+)$"
)


class _Shown(Action):
    """An option that is in the help only, and in no namespace or configuration."""

    def __init__(self, option_strings: Sequence[str], help: str, **_: Any) -> None:
        super().__init__(option_strings, dest=SUPPRESS, default=SUPPRESS, nargs=0, help=help)

    def __call__(self, *_: Any) -> None:
        """Nothing is left to do."""


class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's, which leaves the lines of what follows the options as they are."""


class Parser(ArgumentParser):
    """jsonargparse's parser, whose errors also name the nearest valid option."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with status 2."""
        message = _plain(message)
        _say(f"{message}{self._nearest(message)}")
        raise SystemExit(USAGE)

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """The help; an epilog that is slow to make is made when it is shown."""
        if callable(self.epilog):
            self.epilog = self.epilog()
        return str(super().format_help(formatter))

    def _nearest(self, message: str) -> str:
        wrong = _GIVEN.search(message)
        if not wrong:
            return ""
        given = next(filter(None, wrong.groups())).split(".")[-1]
        if wrong[3] or wrong[4]:  # one of a few, which the message lists
            listed = re.search(r"choose from ([^)]*)|one of ([^.]*)", message)
            known = re.findall(r"[\w-]+", listed[0])[2:] if listed else []
        else:
            known = sorted(self._option_names())
        close = difflib.get_close_matches(given, known, n=1)
        return f"; did you mean {close[0]!r}?" if close else ""

    def _option_names(self) -> set[str]:
        names = set()
        for action in self._actions:
            names |= {option.lstrip("-") for option in action.option_strings}
            for sub in (getattr(action, "_name_parser_map", None) or {}).values():
                names |= sub._option_names()
        return names


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after ``molgeo``; None for the process's own.

    Returns:
        The exit status.
    """
    tell_in_lines()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    try:
        namespace = build_parser().parse_args(arguments)
        command, options = _selected(namespace)
        return COMMANDS[command](options)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has left; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        _say("interrupted")
        return FAILED
    except Exception as error:
        if debug:
            raise
        return _failure(error)


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="molgeo",
        description="Molecular properties from 3D graph neural networks.",
        epilog=f"example: {EXAMPLES['predict']}",
        version=VERSION,
        allow_abbrev=False,
        formatter_class=Formatter,
    )
    _add_debug(parser)
    commands = parser.add_subcommands(dest="command", required=True)

    cli_predict.add(commands, _command)
    cli_moving.add(commands, _command)
    _add_train(commands)
    _add_evaluate(commands)
    _add_calibrate(commands)
    _add_data(commands)
    commands.add_subcommand(
        "models", _command("models", "What is shipped."), help="what is shipped"
    )
    info = _command("info", "A model's card: training, domain, units, errors.")
    info.add_argument("model", type=str, metavar="MODEL", help="shipped name or path")
    commands.add_subcommand("info", info, help="a model's card")
    return parser


def _add_train(commands: Any) -> None:
    """``molgeo train``."""
    from molgeo.training.config import ForceTrainingConfig, TrainingConfig

    train = _command("train", "Train a model; every key of the config is an option.")
    train.add_argument(
        "--config", action=ConfigOption, help="YAML file, such as configs/spectrum_net_qm9.yaml"
    )
    train.add_class_arguments(TrainingConfig)
    shared = set(TrainingConfig.__dataclass_fields__)
    train.add_class_arguments(ForceTrainingConfig, skip=shared)
    train.add_argument("--resume", action="store_true", help="go on from the run folder's state")
    commands.add_subcommand("train", train, help="Lightning training")


def _add_evaluate(commands: Any) -> None:
    """``molgeo evaluate``."""
    from molgeo.prediction.conformer_average import CONFORMERS

    evaluate = _command("evaluate", "Errors of a model on a data set, as JSON.")
    evaluate.add_argument("--model", default=None, type=str | None, help="shipped name or path")
    evaluate.add_argument(
        "--data",
        default="qm9",
        type=str,
        help="qm9, a file with energies and forces, or the config.yaml of a run on forces",
    )
    evaluate.add_argument("--energy-unit", default="eV", type=str, help="of the file")
    evaluate.add_argument("--length-unit", default="angstrom", type=str, help="of the file")
    evaluate.add_argument("--force-unit", default="", type=str, help="of the file, as hartree/bohr")
    evaluate.add_argument(
        "--check-units",
        default=True,
        action=ActionYesNo(no_prefix="no-"),
        nargs="?",
        help="refuse units with which the file is implausible",
    )
    evaluate.add_argument("--split", default="test", type=_choice("train", "validation", "test"))
    evaluate.add_argument(
        "--geometry",
        default="dft",
        type=_choice("dft", "mmff", "smiles", "flat"),
        help="the data set's; MMFF94 from there; from the SMILES with its stereo; without",
    )
    evaluate.add_argument("--conformers", default=CONFORMERS, type=int, help="conformers a SMILES")
    evaluate.add_argument("--limit", default=0, type=int, help="molecules; 0 for all")
    evaluate.add_argument("--device", default="auto", type=str, help="auto, cpu, cuda …")
    evaluate.add_argument(
        "--matmul-precision",
        default="highest",
        type=_choice("highest", "high", "medium"),
        help="of matrix products; medium: bfloat16",
    )
    evaluate.add_argument("--data-dir", default=None, type=str | None, help="where data lie")
    commands.add_subcommand("evaluate", evaluate, help="errors on a data set")


def _add_calibrate(commands: Any) -> None:
    """``molgeo calibrate``."""
    calibrate = _command(
        "calibrate",
        "Measure errors from SMILES on validation molecules, for a model's _std columns.",
    )
    calibrate.add_argument(
        "--model", required=True, type=str, help="checkpoint, which is rewritten"
    )
    calibrate.add_argument(
        "--limit", default=2000, type=int, help="validation and test molecules; 0 for all"
    )
    calibrate.add_argument("--data-dir", default=None, type=str | None, help="where data lie")
    commands.add_subcommand("calibrate", calibrate, help="measure errors, for error bars")


def _add_data(commands: Any) -> None:
    """``molgeo data`` and its commands."""
    data = _command("data", "Data sets.", EXAMPLES["data prepare"])
    commands.add_subcommand("data", data, help="data sets")
    data_commands = data.add_subcommands(dest="data_command", required=True)
    prepare = _command("data prepare", "Prepare a data set for training and evaluation.")
    prepare.add_argument("data", type=_choice("qm9"))
    prepare.add_argument("--source", default="auto", type=str, help="auto, qm9pack, download, FILE")
    prepare.add_argument("--data-dir", default=None, type=str | None, help="where data lie")
    prepare.add_argument("--force", action="store_true", help="prepare anew")
    prepare.add_argument(
        "--conformers",
        nargs="?",
        const=2,
        default=0,
        type=int,
        help="make cheap geometries too, that many of each SMILES (alone: 2); goes on after a kill",
    )
    prepare.add_argument(
        "--geometries",
        default="mmff,smiles",
        type=str,
        help="which with --conformers: some of mmff,smiles,flat",
    )
    data_commands.add_subcommand("prepare", prepare, help="prepare a data set")
    add_compact(data_commands, _command)
    add_generators(data_commands, _command)


def _command(name: str, description: str, example: str | None = None) -> Parser:
    epilog = f"example: {example or EXAMPLES[name]}"
    parser = Parser(
        description=description, epilog=epilog, allow_abbrev=False, formatter_class=Formatter
    )
    _add_debug(parser)
    return parser


def _add_debug(parser: Parser) -> None:
    """Document ``--debug``, which `main` takes before any parser sees it."""
    parser.add_argument("--debug", action=_Shown, help="show the traceback of an error")


def _choice(*values: str) -> Any:
    from typing import Literal

    return Literal[values]


def _selected(namespace: Namespace) -> tuple[str, Namespace]:
    """The chosen (sub)command's name and its options."""
    command = namespace.command
    options = namespace[command]
    if command == "data":
        return f"data {options.data_command}", options[options.data_command]
    return command, options


def _train(options: Namespace) -> int:
    from molgeo.training.config import config_from
    from molgeo.training.naming import of_own_files
    from molgeo.training.run import train
    from molgeo.training.yaml_text import read_yaml

    fields = {k: v for k, v in vars(options).items() if k not in ("config", "resume")}
    files = [str(path) for path in options.config or [] if path is not None]
    if files and os.path.isfile(files[-1]):
        fields = of_own_files(fields, read_yaml(files[-1]))
    path = train(config_from(fields), resume=options.resume)
    print(path)
    return OK


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
    from molgeo.runtime.progress import progress
    from molgeo.training import export

    root, limit = data_dir(options.data_dir) / "qm9", options.limit
    if options.model in shipped():
        raise ValueError(
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


def _prepare(options: Namespace) -> int:
    from molgeo.data.location import data_dir
    from molgeo.data.qm9.sources import prepare
    from molgeo.runtime.progress import progress

    root = data_dir(options.data_dir) / options.data
    with progress("preparing") as report:
        path = prepare(root, options.source, force=options.force, progress=report)
    print(path)
    return _prepare_geometries(root, options) if options.conformers else OK


def _prepare_geometries(root: Path, options: Namespace) -> int:
    from molgeo.data.geometries import cheap
    from molgeo.generate import geometries
    from molgeo.runtime.progress import progress

    for kind in cheap(options.geometries):
        with progress(f"making {kind} geometries") as report:
            path = geometries.prepare(root, kind, options.conformers, report)
        print(path)
        for status, n in geometries.tally(path).items():
            print(f"molgeo: {kind}: {n} {status}", file=sys.stderr)
    return OK


def _models(options: Namespace) -> int:
    from molgeo.evaluation.cards import models_table

    models_table()
    return OK


def _info(options: Namespace) -> int:
    from molgeo.evaluation.cards import info

    info(options.model)
    return OK


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    **cli_predict.COMMANDS,
    **cli_moving.COMMANDS,
    "train": _train,
    "evaluate": _evaluate,
    "calibrate": _calibrate,
    "data prepare": _prepare,
    "data compact": run_compact,
    "data sample": run_sample,
    "data label": run_label,
    "models": _models,
    "info": _info,
}


def _failure(error: Exception) -> int:
    """Tell an error in one line.

    Returns:
        The exit status.
    """
    message = str(error).strip() or type(error).__name__
    if isinstance(error, UserError):
        _say(message)
        return error.exit_status
    if isinstance(error, OSError) and (error.filename is not None or isinstance(error, _OF_FILES)):
        _say(message)
        return USAGE
    _say(f"{type(error).__name__}: {message} (--debug shows where)")
    return FAILED


def _plain(message: str) -> str:
    """Jsonargparse's message in one line, and without the names of Python's types."""
    message = _LITERAL.sub(lambda m: f"expected one of {m[1].replace(chr(39), '')}", message)
    return re.sub(r"Expected a <class '(\w+)'>", r"expected \1", message)


def _say(message: str) -> None:
    """One line on standard error, which a terminal shows and does not obey."""
    sys.stderr.write(f"molgeo: {one_line(message, _MOST)}\n")


if __name__ == "__main__":
    raise SystemExit(main())
