"""``molgeo data sample`` and ``label``, which make force data, and ``compact``, which packs QM9."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

OK, SOME_FAILED = 0, 3


def add_generators(data_commands: Any, command: Callable[[str, str], Any]) -> None:
    """Add the commands to the parser.

    Args:
        data_commands: where ``molgeo data`` holds its commands.
        command: makes a command's parser from its name and description.
    """
    from molgeo.generate.plan import Plan

    sample = command("data sample", "Make structures off equilibrium, to be labelled.")
    sample.add_argument("inputs", nargs="+", metavar="INPUT", help="SMILES, file, or qm9")
    sample.add_argument("--output", required=True, type=str, help="extxyz file; goes on if killed")
    sample.add_class_arguments(Plan)
    sample.add_argument("--limit", default=0, type=int, help="molecules; 0 for all")
    sample.add_argument("--workers", default=0, type=int, help="processes; 0 for one a core")
    data_commands.add_subcommand("sample", sample, help="make structures")

    label = command("data label", "Compute energies and forces of structures by an ASE calculator.")
    label.add_argument("input", type=str, metavar="INPUT", help="file of structures")
    label.add_argument("--calculator", required=True, type=str, help="xtb, pyscf or module:Class")
    label.add_argument("--options", default={}, type=dict, help="of the calculator, as JSON")
    label.add_argument("--output", required=True, type=str, help="extxyz or npz; goes on if killed")
    label.add_argument("--workers", default=0, type=int, help="processes; 0 for one a core")
    data_commands.add_subcommand("label", label, help="compute energies and forces")


def add_compact(data_commands: Any, command: Callable[[str, str], Any]) -> None:
    """Add ``molgeo data compact`` to the parser.

    Args:
        data_commands: where ``molgeo data`` holds its commands.
        command: makes a command's parser from its name and description.
    """
    from typing import Literal

    compact = command("data compact", "Pack a prepared data set, to be carried elsewhere.")
    compact.add_argument("data", type=Literal["qm9"])
    compact.add_argument("--output", default=None, type=str | None, help="file; beside it if none")
    compact.add_argument("--data-dir", default=None, type=str | None, help="where data lie")
    data_commands.add_subcommand("compact", compact, help="pack a data set")


def run_compact(options: Namespace) -> int:
    """Pack QM9, and name the file."""
    from molgeo.data.location import data_dir
    from molgeo.data.qm9.compact import write_compact
    from molgeo.data.qm9.dataset import QM9, compact_path

    root = data_dir(options.data_dir) / options.data
    path = Path(options.output) if options.output else compact_path(root)
    write_compact(QM9(root), path)
    print(path)
    return OK


def run_sample(options: Namespace) -> int:
    """Make structures, and say how many."""
    from molgeo.generate.plan import Plan
    from molgeo.generate.sample import sample
    from molgeo.runtime.progress import progress

    plan = Plan(**{name: options[name] for name in Plan.__dataclass_fields__})
    with progress("sampling") as report:
        done = sample(options.inputs, options.output, plan, options.limit, options.workers, report)
    return _report(options.output, *done)


def run_label(options: Namespace) -> int:
    """Label structures, and say how many."""
    from molgeo.generate.label import label
    from molgeo.generate.methods import Method
    from molgeo.runtime.progress import progress

    method = Method(options.calculator, options.options)
    with progress("labelling") as report:
        done = label(options.input, options.output, method, options.workers, report)
    return _report(options.output, *done)


def _report(output: str, n_done: int, n_failed: int) -> int:
    """Name the output; say on stderr what has failed."""
    print(output)
    if n_failed:
        where = f"{output.removesuffix('.npz').removesuffix('.extxyz')}.extxyz.failed.jsonl"
        print(f"molgeo: {n_failed} of {n_done + n_failed} failed, see {where}", file=sys.stderr)
    return SOME_FAILED if n_failed else OK
