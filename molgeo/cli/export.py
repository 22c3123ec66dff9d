"""A model as a program of PyTorch's: ``export``."""

from __future__ import annotations

from jsonargparse import Namespace

from molgeo.cli.command import Parser, command, positional
from molgeo.runtime.errors import OK


def _options(parser: Parser) -> None:
    add = parser.add_argument
    add("--output", type=str, required=True, help="file to write, which ends in .pt2")
    add("--properties", action="store_true", help="of a force field too: no forces")
    add("--device", type=str, default="cpu", help="that the program is for: cpu, cuda, cuda:1 …")


@command(
    "molgeo export spectrum_net-gfn2 --output model.pt2",
    positional("model", "shipped name or path"),
    _options,
)
def export(options: Namespace) -> int:
    """Write a model as a program that PyTorch runs without molgeo."""
    from molgeo.predictor import checkpoint, program
    from molgeo.runtime import device

    model = checkpoint.load(options.model).to(device.choose(options.device))
    program.export(model, options.output, forces=False if options.properties else None)
    return OK
