"""Names of runs: of the exported model, and of the data that it was trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line, say

MOST: Final = 100
"""Characters of a name, which becomes one of a file."""

_ENDINGS: Final = re.compile(
    r"(\.(extxyz|xyz|npz|db|traj|json|h5|hdf5|gz|bz2|xz|zip|csv|tsv|txt|smi|sdf|parquet))+$", re.I
)
_FORBIDDEN: Final = frozenset('/\\:*?"<>|')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)
"""What is a device on some systems, whatever its ending."""


def data_name(files: Sequence[str]) -> str:
    """A name for data that have none: of its files, without folders and endings.

    Args:
        files: paths, at least one.

    Returns:
        Such as ``ethanol``, or ``part1+part2``: letters, digits and ``._+-``.
    """
    stems = [_ENDINGS.sub("", Path(file).name) or "data" for file in files]
    words = [re.sub(r"[^\w.+-]+", "_", stem).strip("._-") or "data" for stem in stems]
    joined = "+".join(dict.fromkeys(words))
    return joined if len(joined) <= 60 else f"{words[0][:50]}+{len(files) - 1}"


def check_file_name(name: str) -> str:
    """The name of a file in the run's folder, or an empty one.

    Raises:
        SettingError: it has a separator of paths, a control character, an end that some systems
            drop, or too many characters; or it is reserved.
    """
    odd = [c for c in name if c in _FORBIDDEN or not c.isprintable()]
    if name and (odd or len(name) > MOST or name[0] in ".- " or name[-1] in ". "):
        raise SettingError(
            f"expected the name of a file in run_dir, at most {MOST} characters and none "
            f"of / \\ : * ? \" < > |, not beginning with . or -, got '{one_line(name, 60)}'"
        )
    if _RESERVED.fullmatch(name):
        raise SettingError(f"{name!r} is no file's name on some systems")
    return name


def check_set_name(name: str) -> str:
    """The name of a user's own data set, or an empty one.

    Raises:
        SettingError: it cannot be part of a file's name, or is that of a data set that molgeo
            knows, so that a card would claim this one.
    """
    if name.lower() == "qm9":
        raise SettingError(
            f"{name!r} is another data set; give the files in data_file a name of their own with "
            "data_name"
        )
    return check_file_name(name)


def check_free(name: str, chosen: bool) -> None:
    """Keep a model of a user apart from the shipped ones.

    Args:
        name: of the model that a run will export.
        chosen: it was given, not made of the model's and the data's names; then it is remarked on.

    Raises:
        SettingError: it was not chosen and a shipped model has it.
    """
    from molgeo.predictor.checkpoint import shipped

    if name.lower() not in {one.lower() for one in shipped()}:  # as many file systems compare
        return
    if not chosen:
        raise SettingError(
            f"name: this run would export a second {name!r}, and --model {name} would take the "
            "shipped one; choose another --name (or --data_name, if the data are others)"
        )
    say(
        f"the run's model is named as the shipped {name!r} is: "
        "load it by its path, as its name stands for the shipped one"
    )
