"""``--config``: YAML that is looked at before the command line's parser reads it."""

from __future__ import annotations

import os
from typing import Any

from jsonargparse import ActionConfigFile

from molgeo.runtime.plain_text import one_line


class ConfigOption(ActionConfigFile):
    """A YAML file, or YAML itself, of plain values alone (`molgeo.training.yaml_text`)."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        """Parse the keys of a run, or raise ValueError."""
        from molgeo.training.yaml_text import parse_yaml, read_yaml

        is_text = not os.path.exists(values) and ":" in values
        fields = parse_yaml(values, "--config") if is_text else read_yaml(values)
        if not isinstance(fields, dict) or {"config", "resume"} & fields.keys():
            raise ValueError(f"{one_line(values, 100)}: expected the keys of a run and no others")
        super().__call__(parser, cfg, values, option_string)
