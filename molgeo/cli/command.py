"""What a command is, and its parser: an error is one line and names the nearest valid option."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action, HelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn, TypeVar

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from molgeo.runtime.errors import USAGE
from molgeo.runtime.plain_text import nearest, say

Kind = TypeVar("Kind")

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
    """jsonargparse's, which leaves the lines after the options as they are and names no types."""

    def _get_help_string(self, action: Action) -> str:
        """What an option does, and its default if there is one; types are Python's."""
        help, default = action.help or "", action.default
        if action.required:
            return f"{help} (required)" if action.option_strings else help
        if default is None or isinstance(default, bool) or default in ("", {}, SUPPRESS):
            return help
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else "%(default)s"
        return f"{help} (default: {shown})"


class Parser(ArgumentParser):
    """jsonargparse's parser, whose errors also name the nearest valid option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **settings)
        # `molgeo.cli.program.main` takes it before any parser sees it.
        self.add_argument("--debug", action=_Shown, help="show the traceback of an error")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with status 2."""
        message = _LITERAL.sub(lambda m: f"expected one of {m[1].replace(chr(39), '')}", message)
        message = re.sub(r"Expected a <class '(\w+)'>", r"expected \1", message)
        message = re.sub(r'^Parser key "([\w.]+)"', lambda m: self._called(m[1]), message)
        if is_missing := re.match(r"the following arguments are required: (.*)", message):
            message = f"{', '.join(map(self._called, is_missing[1].split(', ')))}: is missing"
        if is_missing := re.match(r'expected "(?:(\w+)\.)?\w*command" to be one of', message):
            words = f"molgeo {is_missing[1] or ''}".strip()
            message = f"{words}: expected a command; {words} --help lists them"
        say(f"{message}{self._nearest(message)}")
        raise SystemExit(USAGE)

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """The help; an epilog that is slow to make is made when it is shown."""
        if callable(self.epilog):
            self.epilog = self.epilog()
        return str(super().format_help(formatter))

    def _called(self, key: str) -> str:
        """What users call an argument: ``--data-dir``, or ``INPUT`` of one without ``--``."""
        name = key.split(".")[-1]
        option = name.replace("_", "-")
        return f"--{option}" if option in self._option_names() else name.rstrip("s").upper()

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
        dashes = "--" if wrong[1] and "." not in wrong[1] else ""
        return nearest(dashes + given, [dashes + name for name in known])

    def _option_names(self) -> set[str]:
        names = set()
        for action in self._actions:
            names |= {x.removeprefix("--") for x in action.option_strings if x.startswith("--")}
            for sub in (getattr(action, "_name_parser_map", None) or {}).values():
                names |= sub._option_names()
        return names


Options = type | Callable[[Parser], Any]
"""Options of a command: settings, whose fields they are, or a function that adds them."""


@dataclass(frozen=True)
class Command:
    """A command, or a group of them.

    Attributes:
        name: after ``molgeo``, such as ``predict``; one of a group has two words.
        about: what it does, a sentence.
        example: a whole command line, which works.
        parts: its options.
        run: does the work with the options' values, and returns the exit status; None for a group.
        notes: makes the lines of the help between the options and the example.
        rewrite: makes words that the parser understands of the words after the name.
    """

    name: str
    about: str
    example: str
    parts: Sequence[Options] = ()
    run: Callable[[Namespace], int] | None = None
    notes: Callable[[], str] | None = None
    rewrite: Callable[[list[str]], list[str]] = list

    def parser(self) -> Parser:
        """The parser of its options."""
        notes, example = self.notes, f"example: {self.example}"
        epilog: Any = (lambda: f"{notes()}\n\n{example}") if notes else example
        parser = Parser(description=self.about, epilog=epilog)
        for part in self.parts:
            add_fields(parser, part) if isinstance(part, type) else part(parser)
        return parser


def command(example: str, *parts: Options, **more: Any) -> Callable[[Callable[..., int]], Command]:
    """Make a command of a function of the options' values, which returns the exit status.

    Its name is the function's, ``data_label`` for ``data label``, and what it does is the first
    line of the docstring.

    Args:
        example: a whole command line, which works.
        parts: its options.
        more: further attributes of `Command`.
    """

    def made(run: Callable[[Namespace], int]) -> Command:
        name, about = run.__name__.replace("_", " "), (run.__doc__ or "").split("\n")[0]
        return Command(name, about, example, parts, run, **more)

    return made


def positional(name: str, help: str, **more: Any) -> Options:
    """An argument without ``--``, of a command."""
    words = {"type": str, "metavar": name.rstrip("s").upper(), "help": help, **more}
    return lambda parser: parser.add_argument(name, **words)


def add_fields(parser: Parser, *kinds: type, **defaults: Any) -> None:
    """Add an option for each field of settings, as `molgeo.runtime.options.option` describes it.

    A switch that is on by default gets the option that turns it off, ``--no-NAME``.

    Args:
        parser: of a command.
        kinds: dataclasses.
        defaults: of the command line, if they are others than the fields'.
    """
    for field in (field for kind in kinds for field in fields(kind) if field.metadata["help"]):
        about, name = field.metadata, field.name.replace("_", "-")
        default = defaults.get(field.name, field.default)
        words = {"default": default, "dest": field.name, "help": about["help"], **about["more"]}
        if about["type"] is not bool:
            parser.add_argument(f"--{name}", *about["aliases"], type=about["type"], **words)
        elif field.default is True:
            parser.add_argument(f"--no-{name}", action="store_false", **words)
        else:
            parser.add_argument(f"--{name}", *about["aliases"], action="store_true", **words)


def settings_from(options: Namespace, kind: type[Kind]) -> Kind:
    """The settings that options tell.

    Args:
        options: of a command whose parser has them by `add_fields`.
        kind: a dataclass.
    """
    names = [one.name for one in fields(kind) if one.metadata["help"]]  # type: ignore[arg-type]
    return kind(**{name: options[name] for name in names})
