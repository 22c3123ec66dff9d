"""The command line: ``molgeo COMMAND``. Every command is a thin shell around one function.

Exit status: 0 done; 3 done, some rows failed; 2 wrong usage or unreadable input; 1 anything else.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from molgeo import __version__

OK, FAILED, USAGE, SOME_ROWS_FAILED = 0, 1, 2, 3

EXAMPLES = {
    "predict": "molgeo predict CCO benzene.xyz --properties gap,mu --output out.csv",
    "train": "molgeo train --config configs/schnet_qm9.yaml --max_epochs 10 --seed 1",
    "evaluate": "molgeo evaluate --data qm9 --split test --limit 1000",
    "data prepare": "molgeo data prepare qm9",
    "models": "molgeo models",
    "info": "molgeo info schnet-qm9",
}


class Parser(ArgumentParser):
    """jsonargparse's parser, whose errors also name the nearest valid option."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with status 2."""
        print(f"molgeo: {_one_line(message)}{self._nearest(message)}", file=sys.stderr)
        raise SystemExit(USAGE)

    def _nearest(self, message: str) -> str:
        unknown = re.search(
            r"unrecognized arguments: --([\w.-]+)|option '([\w.-]+)'|choice: '(\w+)'", message
        )
        if not unknown:
            return ""
        given = next(group for group in unknown.groups() if group).split(".")[-1]
        known = list(COMMANDS) if unknown[3] else sorted(self._option_names())
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
        print("molgeo: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        print(f"molgeo: {_one_line(str(error)) or type(error).__name__}", file=sys.stderr)
        return USAGE if isinstance(error, _usage_errors()) else FAILED


def build_parser() -> Parser:
    """The parser of all commands."""
    from molgeo.training.config import TrainingConfig

    parser = Parser(
        prog="molgeo",
        description="Molecular properties from 3D graph neural networks.",
        version=__version__,
        allow_abbrev=False,
    )
    commands = parser.add_subcommands(dest="command", required=True)

    predict = _command("predict", "Properties of molecules.")
    predict.add_argument("inputs", nargs="+", metavar="INPUT", help="SMILES, file, or - for stdin")
    predict.add_argument("--model", default=None, type=str | None, help="shipped name or path")
    predict.add_argument("--properties", default=None, type=str | None, help="such as gap,mu")
    predict.add_argument("--output", default=None, type=str | None, help="file to write")
    predict.add_argument("--format", default=None, type=_choice("table", "csv", "json", "jsonl"))
    predict.add_argument("--conformers", default=1, type=int, help="conformers a SMILES")
    predict.add_argument("--batch-size", default="auto", type=str, help="molecules, or auto")
    predict.add_argument("--device", default="auto", type=str, help="auto, cpu, cuda …")
    predict.add_argument("--strict", action="store_true", help="stop at the first bad row")
    commands.add_subcommand("predict", predict, help="properties of molecules")

    train = _command("train", "Train a model; every key of the config is an option.")
    train.add_argument(
        "--config", action="config", help="YAML file, such as configs/schnet_qm9.yaml"
    )
    train.add_class_arguments(TrainingConfig)
    train.add_argument("--resume", action="store_true", help="go on from the run folder's state")
    commands.add_subcommand("train", train, help="Lightning training")

    evaluate = _command("evaluate", "Errors of a model on a data set, as JSON.")
    evaluate.add_argument("--model", default=None, type=str | None, help="shipped name or path")
    evaluate.add_argument("--data", default="qm9", type=_choice("qm9"))
    evaluate.add_argument("--split", default="test", type=_choice("train", "validation", "test"))
    evaluate.add_argument("--geometry", default="dft", type=_choice("dft", "smiles"))
    evaluate.add_argument("--limit", default=0, type=int, help="molecules; 0 for all")
    evaluate.add_argument("--device", default="auto", type=str, help="auto, cpu, cuda …")
    evaluate.add_argument("--data-dir", default=None, type=str | None, help="where data lie")
    commands.add_subcommand("evaluate", evaluate, help="errors on a data set")

    data = Parser(description="Data sets.")
    commands.add_subcommand("data", data, help="data sets")
    data_commands = data.add_subcommands(dest="data_command", required=True)
    prepare = _command("data prepare", "Prepare a data set for training and evaluation.")
    prepare.add_argument("data", type=_choice("qm9"))
    prepare.add_argument("--source", default="auto", type=str, help="auto, qm9pack, download, FILE")
    prepare.add_argument("--data-dir", default=None, type=str | None, help="where data lie")
    prepare.add_argument("--force", action="store_true", help="prepare anew")
    data_commands.add_subcommand("prepare", prepare, help="prepare a data set")
    commands.add_subcommand(
        "models", _command("models", "What is shipped."), help="what is shipped"
    )
    info = _command("info", "A model's card: training, domain, units, errors.")
    info.add_argument("model", type=str, metavar="MODEL", help="shipped name or path")
    commands.add_subcommand("info", info, help="a model's card")
    return parser


def _command(name: str, description: str) -> Parser:
    return Parser(description=description, epilog=f"example: {EXAMPLES[name]}", allow_abbrev=False)


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


def _predict(options: Namespace) -> int:
    from molgeo.prediction import run_predict

    return run_predict(**vars(options))


def _train(options: Namespace) -> int:
    from molgeo.training.config import TrainingConfig
    from molgeo.training.run import train

    fields = {k: v for k, v in vars(options).items() if k not in ("config", "resume")}
    path = train(TrainingConfig(**fields), resume=options.resume)
    print(path)
    return OK


def _evaluate(options: Namespace) -> int:
    from molgeo.checkpoint import load
    from molgeo.datasets.location import data_dir
    from molgeo.device import choose
    from molgeo.evaluate import evaluate
    from molgeo.progress import progress

    predictor = load(options.model).to(choose(options.device))
    with progress("evaluating") as report:
        result = evaluate(
            predictor,
            str(data_dir(options.data_dir) / options.data),
            options.split,
            options.geometry,
            options.limit,
            progress=report,
        )
    print(json.dumps(result, indent=2))
    return OK


def _prepare(options: Namespace) -> int:
    from molgeo.datasets.location import data_dir
    from molgeo.datasets.qm9_sources import prepare
    from molgeo.progress import progress

    root = data_dir(options.data_dir) / options.data
    with progress("preparing") as report:
        path = prepare(root, options.source, force=options.force, progress=report)
    print(path)
    return OK


def _models(options: Namespace) -> int:
    from molgeo.cards import models_table

    models_table()
    return OK


def _info(options: Namespace) -> int:
    from molgeo.cards import info

    info(options.model)
    return OK


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "predict": _predict,
    "train": _train,
    "evaluate": _evaluate,
    "data prepare": _prepare,
    "models": _models,
    "info": _info,
}


def _usage_errors() -> tuple[type[Exception], ...]:
    """Errors that the user can mend: a missing file, a wrong value, an unreadable model."""
    return (FileNotFoundError, FileExistsError, ValueError, TypeError, PermissionError)


def _one_line(message: str) -> str:
    return " ".join(message.split())


if __name__ == "__main__":
    raise SystemExit(main())
