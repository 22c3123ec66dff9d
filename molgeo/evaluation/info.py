"""What is shipped, and what a checkpoint says of itself, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from molgeo import models
from molgeo.evaluation.cards import EXPECTED, FORCE_ERRORS, MOST, UNKNOWN, facts_of, formatted
from molgeo.graph.bond_kinds import BondKinds
from molgeo.graph.environments import Environments
from molgeo.predictor.checkpoint import (
    DEFAULT_FORCE_FIELD,
    DEFAULT_MODEL,
    DEFAULT_OUTSIDE,
    DEFAULT_SMILES_MODEL,
    CheckpointError,
    conformer_weights,
    find,
    geometry_engine,
    read_header,
    sha256,
    shipped,
)
from molgeo.predictor.header import Header, Measured
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line, say

if TYPE_CHECKING:
    from rich.text import Text

DEFAULTS: Final = {
    DEFAULT_MODEL: "geometries",
    DEFAULT_OUTSIDE: "others",
    DEFAULT_SMILES_MODEL: "SMILES",
    DEFAULT_FORCE_FIELD: "dynamics",
    geometry_engine() or "": "conformers",
    conformer_weights() or "": "weights",
}
"""What models are taken for if none is named."""


def models_table() -> None:
    """Print the shipped models, and the backbones that others can be trained with."""
    from rich.console import Console
    from rich.table import Table

    # Not the backbone, which names begin with: 80 columns hold them whole.
    columns = ("model", "default for", "data", "molecules", "properties", "size")
    table = Table(*columns, box=None, pad_edge=False)
    for name, path in shipped().items():
        try:
            header = read_header(path)
        except CheckpointError as error:
            table.add_row(_plain(name), DEFAULTS.get(name, ""), "damaged")
            say(error)
            continue
        cells = (
            name,
            DEFAULTS.get(name, ""),
            header.data or UNKNOWN,
            f"{header.n_train:,}",
            str(len(header.config.properties)),
            f"{path.stat().st_size / 1e6:.1f} MB",
        )
        table.add_row(*map(_plain, cells))
    Console().print(table)
    Console().print(_plain(f"\nbackbones to train: {', '.join(models.names())}"))


def info(name: str) -> None:
    """Print a model's card: training, domain, units and errors."""
    from rich.console import Console
    from rich.table import Column, Table

    path = find(name)
    header = read_header(path)
    console = Console(highlight=False)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column()
    known = {
        "environments": environments(header.domain.environments),
        "kinds of bonds": bond_kinds(header.domain.bond_kinds),
        "energy surface": energy_surface(header.config.model, header.config.backbone),
        **trust(header),
    }
    for label, value in {**facts_of(header), **known}.items():
        facts.add_row(_plain(label), _plain(value))
    console.print(_plain(path.stem, "bold underline"))
    console.print(facts)
    outside = [Column(_plain(f"outside {header.data}"))] if header.outside.n else []
    table = Table("property", "", "unit", "test MAE", *outside, box=None, pad_edge=False)
    rows = [(one.name, one.column, one.description, one.unit) for one in header.config.properties]
    if header.trained_on_forces:
        rows += [(name, *about) for name, about in FORCE_ERRORS.items()]
    for name, column, description, unit in rows:
        parts = (header.metrics, header.outside)[: 1 + len(outside)]
        maes = [formatted(one.mae.get(column), ".4g") for one in parts]
        table.add_row(*map(_plain, (name, description, unit, *maes)))
    console.print()
    console.print(table)
    console.print()
    console.print(_plain(f"file: {path}"), soft_wrap=True)
    console.print(_plain(f"SHA-256: {sha256(path)}"), soft_wrap=True)


def energy_surface(model: str, fields: dict[str, Any]) -> str:
    """Whether a backbone's energy is smooth, as forces need, and the same for mirror images.

    Args:
        model: its name, as a header has it.
        fields: of its config.
    """
    try:
        backbone = models.model_class(model, trusted=False)(**{**fields, "n_out": None})
    except SettingError:  # of another package
        return UNKNOWN
    smooth = "smooth" if backbone.is_smooth else "jumps if another atom becomes the reference"
    mirror = "differ" if backbone.tells_mirror_images else "are the same"
    use = "" if backbone.is_smooth else ": for properties, not for forces"
    direct = f"; forces are {models.DIRECT}" if backbone.direct_forces else ""
    return f"{smooth}{use}; mirror images {mirror}{direct}"


def trust(header: Header) -> dict[str, str]:
    """Label → what a model knows of its own errors, and what it lacks."""
    if header.trained_on_forces:
        missing = "none: molgeo calibrate --model FILE --data DATA measures them"
        return {} if header.expected_errors else {EXPECTED: missing}
    data = header.data or "the data"
    held = {
        "from SMILES" if header.metrics.geometry == "smiles" else "at given coordinates": (
            header.metrics
        ),
        **({"from SMILES": header.from_smiles} if header.from_smiles.n else {}),
        f"outside {data}": header.outside,
    }
    intervals = [f"{shares} {where}" for where, one in held.items() if (shares := _held(one))]
    outside = header.outside
    flagged = f", {outside.flagged:.0%} of them flagged" if outside.flagged is not None else ""
    return {
        "features": (
            "recorded: molecules far from those of training are flagged"
            + (", and have wider error bars" if header.calibration else "")
            if header.familiarity
            else "not recorded: how far a molecule is from those of training is not known"
        ),
        "error bars": error_bars(header),
        **({"90% intervals hold": "; ".join(intervals)} if intervals else {}),
        f"outside {data}": (
            f"errors below, on {outside.n:,} molecules{flagged}" if outside.n else "not measured"
        ),
    }


def error_bars(header: Header) -> str:
    """What a model's error bars were measured on; how to get them if it has none."""
    ways = {True: "from SMILES", False: "of given coordinates"}
    parts = []
    for made, way in ways.items():
        known = [one for one in header.calibration if bool(one.conformers) is made]
        if not known:
            continue
        most = max(known, key=lambda one: one.conformers)
        others = f" and {most.n_outside:,} others" if most.n_outside else ""
        if most.n_outside and header.is_fit:  # its folds have them
            others = f", {most.n_outside:,} of them outside the domain"
        parts.append(f"{way}, measured on {most.n:,} molecules{others}")
    if parts:
        return "; ".join(parts)
    if header.is_fit:  # which has bars but for classes
        return "none: a probability says by itself how sure it is"
    return "none: molgeo calibrate --model FILE makes them"


def _held(errors: Measured) -> str:
    """The smallest and the largest share of labels within 90% intervals, over the properties."""
    shares = [one["low90_high90"] for one in errors.coverage.values() if "low90_high90" in one]
    ends = dict.fromkeys(f"{end(shares):.0%}" for end in (min, max)) if shares else ()
    return " to ".join(ends)


def environments(known: Environments | None) -> str:
    """How much of its training data a model remembers, to tell what it does not know."""
    if known is None:
        return "not recorded: it cannot tell which molecules it does not know"
    few = ", ".join(known.formulas)
    return (
        f"{len(known.counts)} kinds of bonded atoms in {known.configurations:,} "
        f"configurations, {known.periodic:,} of them periodic" + (f"; {few} alone" if few else "")
    )


def bond_kinds(known: BondKinds | None) -> str:
    """How many kinds of bonds a model remembers, and when it calls one rare."""
    if known is None:
        return "not recorded: no bond is called rare"
    line = f"rare if in fewer than {known.needed:,} of them" if known.needed else "none called rare"
    return f"{len(known.counts):,} in {known.molecules:,} training molecules; {line}"


def _plain(text: str, style: str = "") -> Text:
    """What a stranger's file says, as a terminal shows it: no markup, no control characters."""
    from rich.text import Text

    return Text(one_line(text, MOST), style)
