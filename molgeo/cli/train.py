"""The command ``train``: every key of a run's config is an option."""

from __future__ import annotations

from typing import Any, Final

from jsonargparse import Namespace

from molgeo.cli.command import Parser, command
from molgeo.runtime.errors import OK, SettingError

_FLAGS: Final = ("resume", "resolved", "help")


def _as_assignments(words: list[str]) -> list[str]:
    """Words after ``train`` in which each key of the config is an assignment, ``--key=NAME=VALUE``.

    A kind of data from outside brings keys that no parser knows beforehand.
    """
    found, left = [], list(words)
    while left:
        word = left.pop(0)
        word = "--resolved" if word == "--print_config" else word
        key, has_value, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or key in (*_FLAGS, "key"):
            found.append(word)
            continue
        if not has_value:
            if not left or left[0].startswith("--"):
                raise SettingError(f"--{key}: expected a value after it")
            value = left.pop(0)
        found.append(f"--config={value}" if key == "config" else f"--key={key}={value}")
    return found


def _options(parser: Parser) -> None:
    add = parser.add_argument
    add("--config", type=str | None, help="YAML file, such as configs/spectrum_net_qm9.yaml")
    add("--key", action="append", type=str, help="KEY=VALUE, as --KEY VALUE")
    add("--resume", action="store_true", help="go on from the run folder's state")
    add("--resolved", action="store_true", help="print the config, and end; also --print_config")


def _keys() -> str:
    """All keys with their defaults, for the help."""
    from molgeo.training.config import KINDS, RunConfig, task_class

    lines = ["keys of every run:", *_described(RunConfig, {})]
    for kind, (_, needs) in KINDS.items():
        lines += ["", f"keys of data: {kind} ({needs}):"]
        lines += _described(task_class(kind).config_class, RunConfig.model_fields)
    return "\n".join(lines)


def _described(config: Any, known: Any) -> list[str]:
    from docstring_parser import parse

    classes = [one for one in config.__mro__ if "model_fields" in dir(one) and one.__doc__]
    texts = {p.arg_name: p.description for one in classes for p in parse(one.__doc__).params}
    lines = []
    for name, field in config.model_fields.items():
        if name in known:
            continue
        value = field.get_default(call_default_factory=True)
        default = "" if field.is_required() else f" (default: {value!r})"
        text = " ".join((texts.get(name) or "").replace("``", "").split())
        lines.append(f"  --{name}: {text}{default}")
    return lines


@command(
    "molgeo train --config configs/spectrum_net_qm9.yaml --max_epochs 10 --seed 1",
    _options,
    notes=_keys,
    rewrite=_as_assignments,
)
def train(options: Namespace) -> int:
    """Train a model; every key of the config is an option."""
    import yaml

    from molgeo.training.config import read_config

    config = read_config(options.config, options.key or [])
    if options.resolved:
        print(yaml.safe_dump(config.model_dump(), sort_keys=False), end="")
        return OK
    from molgeo.training import run

    print(run.train(config, resume=options.resume))
    return OK
