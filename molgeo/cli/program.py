"""The command line: ``molgeo COMMAND``. Every command is a thin shell around one function.

The class of an error decides about the exit status, whose values are explained in
`molgeo.runtime.errors.MEANING`: a `UserError` has one of its own, and an error of a file is the
user's to mend too. All others are bugs, whose message tells of ``--debug``.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Final

from jsonargparse import Namespace

from molgeo.cli.command import Command, Parser
from molgeo.runtime.errors import FAILED, OK, USAGE, UserError
from molgeo.runtime.plain_text import say, say_warnings
from molgeo.runtime.version import VERSION

MODULES: Final = (
    "molgeo.cli.predict",
    "molgeo.cli.moving",
    "molgeo.cli.fit",
    "molgeo.cli.train",
    "molgeo.cli.evaluate",
    "molgeo.cli.data",
    "molgeo.cli.models",
    "molgeo.cli.export",
)
"""Modules with commands; the help lists them in this order."""

_OF_FILES: Final = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)


def commands_of(modules: Iterable[str]) -> dict[str, Command]:
    """The commands of modules, by name; a group comes before its commands."""
    found = (value for module in modules for value in vars(import_module(module)).values())
    return {one.name: one for one in found if isinstance(one, Command)}


COMMANDS: Final = commands_of(MODULES)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after ``molgeo``; None for the process's own.

    Returns:
        The exit status.
    """
    say_warnings()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        command, options = parse(words)
        return command.run(options) if command.run else OK
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has left; Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        say("interrupted")
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
        epilog=f"example: {COMMANDS['predict'].example}",
        version=VERSION,
    )
    groups: dict[str, Any] = {"": parser.add_subcommands(dest="command", required=True)}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        its_parser = command.parser()
        groups[group].add_subcommand(last, its_parser, help=command.about)
        if command.run is None:
            groups[name] = its_parser.add_subcommands(dest=f"{name}_command", required=True)
    return parser


def parse(words: Sequence[str]) -> tuple[Command, Namespace]:
    """The command that words name, and the values of its options.

    Args:
        words: after ``molgeo``.

    Raises:
        SystemExit: the words are wrong, or the help was printed.
    """
    words = list(words)
    if words and words[0] in COMMANDS:
        words[1:] = COMMANDS[words[0]].rewrite(words[1:])
    options = build_parser().parse_args(words)
    name, options = options.command, options[options.command]
    if COMMANDS[name].run is None:
        last = options[f"{name}_command"]
        name, options = f"{name} {last}", options[last]
    return COMMANDS[name], options


def _is_of_a_file(error: OSError) -> bool:
    """Whether the user can mend it: a file is missing or in the way, or its disk is full."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_full or error.filename is not None or isinstance(error, _OF_FILES)


def _failure(error: Exception) -> int:
    """Tell an error in one line.

    Returns:
        The exit status.
    """
    message = str(error).strip() or type(error).__name__
    if isinstance(error, UserError):
        say(message)
        return error.exit_status
    if isinstance(error, OSError) and _is_of_a_file(error):
        say(f"{error.filename}: {error.strerror}" if error.filename is not None else message)
        return USAGE
    say(f"{type(error).__name__}: {message} (--debug shows where)")
    return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
