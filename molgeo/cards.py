"""What is shipped, and what a checkpoint says of itself, for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from molgeo.checkpoint import DEFAULT_MODEL, find, read_header, shipped
from molgeo.elements import SYMBOLS
from molgeo.properties import PROPERTIES


def models_table() -> None:
    """Print the shipped models."""
    table = Table("model", "backbone", "trained on", "properties", "size", box=None, pad_edge=False)
    for name, path in shipped().items():
        header = read_header(path)
        default = " (default)" if name == DEFAULT_MODEL else ""
        table.add_row(
            name + default,
            header["config"]["model"],
            f"{header['data']}, {header['n_train']:,} molecules",
            str(len(header["config"]["properties"])),
            f"{path.stat().st_size / 1e6:.1f} MB",
        )
    Console().print(table)


def info(name: str) -> None:
    """Print a model's card: training, domain, units and errors."""
    path = find(name)
    header = read_header(path)
    domain = header["domain"]
    console = Console(highlight=False)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column()
    for label, value in _facts(header, domain).items():
        facts.add_row(label, value)
    console.print(path.stem, style="bold underline")
    console.print(facts)
    mae = header.get("metrics", {}).get("mae", {})
    table = Table("property", "", "unit", "test MAE", box=None, pad_edge=False)
    for key in header["config"]["properties"]:
        known = PROPERTIES[key]
        error = f"{mae[known.column]:.4g}" if known.column in mae else "–"
        table.add_row(key, known.description, known.unit, error)
    console.print()
    console.print(table)
    console.print(f"\nfile: {path}")


def _facts(header: dict[str, Any], domain: dict[str, Any]) -> dict[str, str]:
    metrics = header.get("metrics", {})
    return {
        "backbone": f"{header['config']['model']} {header['config']['backbone']}",
        "trained on": f"{header['data']}, {header['n_train']:,} molecules, split {header['split']}",
        "level of theory": header["level_of_theory"],
        "geometries": header["geometry_source"],
        "training": f"{header['epochs']} epochs, {header['steps']:,} steps, {header['hardware']}, "
        f"{header['date']}",
        "elements": ", ".join(SYMBOLS[z] for z in domain["elements"]),
        "charge": f"{domain['charge']:+d}" if domain["charge"] else "0",
        "atoms": f"up to {domain['max_atoms']} in training; larger molecules are extrapolation",
        "shortest distance": f"{domain['min_distance']:.2f} Å",
        "errors measured on": f"{metrics['n']:,} test molecules, {metrics['geometry']} geometries"
        if metrics
        else "not measured",
    }
