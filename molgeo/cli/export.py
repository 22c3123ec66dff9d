"""A model as a program of PyTorch's: ``export``."""

from __future__ import annotations

from jsonargparse import Namespace

from molgeo.cli.command import Parser, command, positional
from molgeo.runtime.errors import OK
from molgeo.runtime.plain_text import say


def _options(parser: Parser) -> None:
    add = parser.add_argument
    add("--output", type=str, required=True, help="file to write, which ends in .pt2")
    add("--force", action="store_true", help="replace a file that is there")
    add(
        "--properties",
        action="store_true",
        help="write the properties of a force field, without forces",
    )
    add(
        "--device",
        type=str,
        default="cpu",
        help="the device that will run the program: cpu, cuda, cuda:1 …",
    )


@command(
    "molgeo export spectrum_net-aimnet2 --output model.pt2",
    positional("model", "shipped name or path"),
    _options,
)
def export(options: Namespace) -> int:
    """Write a model as a program that PyTorch runs without molgeo."""
    from molgeo.predictor import checkpoint, program
    from molgeo.runtime import device
    from molgeo.runtime.whole_file import new_file

    path = new_file(options.output, (".pt2",), options.force)
    model = checkpoint.load(options.model).to(device.choose(options.device))
    forces = False if options.properties else None
    program.export(model, path, forces)
    outputs = ", ".join(program.description(model, forces)["outputs"])
    say(f"{path}: {model.name} for {options.device}, {path.stat().st_size / 1e6:.1f} MB: {outputs}")
    return OK
