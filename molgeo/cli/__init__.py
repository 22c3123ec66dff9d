"""The command line: one module per group of commands."""

from molgeo.cli.program import main

__all__ = ["main"]
