"""Data sets: ``molgeo data prepare``, ``compact``, ``sample`` and ``label``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from molgeo.cli.command import Command, Parser, add_fields, command, settings_from
from molgeo.runtime.errors import OK, SOME_FAILED
from molgeo.runtime.plain_text import say

if TYPE_CHECKING:
    from molgeo.generate.journal import Kept


def _prepare_options(parser: Parser) -> None:
    add = parser.add_argument
    add("data", type=Literal["qm9"])
    add(
        "--source",
        default="auto",
        type=str,
        help="where QM9 comes from: auto, qm9pack, download or FILE",
    )
    add("--data-dir", default=None, type=str | None, help="folder of the data sets")
    add("--force", action="store_true", help="prepare again, even if it is done")
    add(
        "--conformers",
        nargs="?",
        const=2,
        default=0,
        type=int,
        help="make cheap geometries too: so many per SMILES, or 2 without a number; a run that was "
        "killed goes on",
    )
    add(
        "--geometries",
        default="mmff,smiles",
        type=str,
        help="which geometries --conformers makes: some of mmff,smiles,flat, and what the "
        "geometry engine makes of these: relaxed,relaxed_smiles,relaxed_flat",
    )


def _compact_options(parser: Parser) -> None:
    add = parser.add_argument
    add("data", type=Literal["qm9"])
    add("--output", default=None, type=str | None, help="file; beside the data set if not given")
    add("--data-dir", default=None, type=str | None, help="folder of the data sets")


def _sample_options(parser: Parser) -> None:
    from molgeo.generate.plan import SamplePlan

    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="SMILES, file, or qm9")
    add("--output", required=True, type=str, help="extxyz file; a run that was killed goes on")
    add_fields(parser, SamplePlan)
    add("--limit", default=0, type=int, help="molecules; 0 for all")
    add("--workers", default=0, type=int, help="processes; 0 for one per core")


def _label_options(parser: Parser) -> None:
    add = parser.add_argument
    add("input", type=str, metavar="INPUT", help="file of structures")
    add("--calculator", required=True, type=str, help="xtb, pyscf, aimnet2 or module:Class")
    add("--options", default={}, type=dict, help="options of the calculator, as JSON")
    add("--output", required=True, type=str, help="extxyz or npz; a run that was killed goes on")
    add("--workers", default=0, type=int, help="processes; 0 for one per core")


data = Command("data", "Data sets.", "molgeo data prepare qm9 --conformers 2")


@command("molgeo data prepare qm9 --conformers 2", _prepare_options)
def data_prepare(options: Namespace) -> int:
    """Prepare a data set for training and evaluation."""
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
    from molgeo.generate import geometries, qm9
    from molgeo.runtime.progress import progress

    for kind in cheap(options.geometries):
        with progress(f"making {kind} geometries") as report:
            path = qm9.prepare(root, kind, options.conformers, report)
        print(path)
        for status, n in geometries.tally(path).items():
            say(f"{kind}: {n} {status}")
    return OK


@command("molgeo data compact qm9 --output qm9_compact.safetensors", _compact_options)
def data_compact(options: Namespace) -> int:
    """Pack a prepared data set, to be carried elsewhere."""
    from molgeo.data.location import data_dir
    from molgeo.data.qm9.dataset import QM9, compact_path

    root = data_dir(options.data_dir) / options.data
    path = Path(options.output) if options.output else compact_path(root)
    QM9(root).write_compact(path)
    print(path)
    return OK


@command("molgeo data sample molecules.smi --output structures.extxyz", _sample_options)
def data_sample(options: Namespace) -> int:
    """Make structures off equilibrium, to be labelled."""
    from molgeo.generate.plan import SamplePlan
    from molgeo.generate.sample import sample_structures
    from molgeo.runtime.progress import progress

    plan = settings_from(options, SamplePlan)
    with progress("sampling") as report:
        done = sample_structures(
            options.inputs, options.output, plan, options.limit, options.workers, report
        )
    return _report(options.output, done)


@command(
    "molgeo data label structures.extxyz --calculator xtb --output labelled.npz", _label_options
)
def data_label(options: Namespace) -> int:
    """Compute energies and forces of structures by an ASE calculator."""
    from molgeo.generate.label import Method, label_structures
    from molgeo.runtime.progress import progress

    method = Method(options.calculator, options.options)
    with progress("labelling") as report:
        done = label_structures(options.input, options.output, method, options.workers, report)
    return _report(options.output, done)


def _report(output: str, kept: Kept) -> int:
    """Name the output; say on stderr what has failed."""
    print(output)
    if kept.failed:
        say(f"{kept.failed} of {kept.done + kept.failed} failed, see {kept.failed_path}")
    return SOME_FAILED if kept.failed else OK
