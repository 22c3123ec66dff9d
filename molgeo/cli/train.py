"""The command ``train``: every key of a run's config is an option."""

from __future__ import annotations

import os
from typing import Any, Final

from jsonargparse import ActionConfigFile, Namespace

from molgeo.cli.command import Command, Parser
from molgeo.runtime.errors import InputError
from molgeo.runtime.exit_status import OK
from molgeo.runtime.plain_text import one_line


class ConfigOption(ActionConfigFile):
    """A YAML file, or YAML itself, of plain values alone (`molgeo.training.yaml_text`)."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        """Parse the keys of a run, or raise InputError."""
        from molgeo.training.yaml_text import parse_yaml, read_yaml

        is_text = not os.path.exists(values) and ":" in values
        fields = parse_yaml(values, "--config") if is_text else read_yaml(values)
        if not isinstance(fields, dict) or {"config", "resume"} & fields.keys():
            raise InputError(f"{one_line(values, 100)}: expected the keys of a run and no others")
        super().__call__(parser, cfg, values, option_string)


def _options(parser: Parser) -> None:
    from molgeo.training.config import ForceTrainingConfig, TrainingConfig

    parser.add_argument(
        "--config", action=ConfigOption, help="YAML file, such as configs/spectrum_net_qm9.yaml"
    )
    parser.add_class_arguments(TrainingConfig)
    shared = set(TrainingConfig.__dataclass_fields__)
    parser.add_class_arguments(ForceTrainingConfig, skip=shared)
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's state")


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


COMMANDS: Final = (
    Command(
        "train",
        "Train a model; every key of the config is an option.",
        "molgeo train --config configs/spectrum_net_qm9.yaml --max_epochs 10 --seed 1",
        _options,
        _train,
    ),
)
