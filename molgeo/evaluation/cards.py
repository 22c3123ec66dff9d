"""What is shipped, and what a checkpoint says of itself, for people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from molgeo.elements import SYMBOLS
from molgeo.evaluation.published import QM9_MAE
from molgeo.predictor.checkpoint import (
    DEFAULT_FORCE_FIELD,
    DEFAULT_MODEL,
    DEFAULT_SMILES_MODEL,
    CheckpointError,
    find,
    read_header,
    shipped,
)
from molgeo.predictor.checkpoint.header import properties_of
from molgeo.properties import Property
from molgeo.runtime.plain_text import one_line

if TYPE_CHECKING:
    from rich.text import Text

FORCE_ERRORS: Final = {
    "energy/atom": ("energy_eV_atom", "potential energy divided by the atoms", "eV"),
    "forces": ("forces_eV_A", "component of a force", "eV/Å"),
}
"""Errors that a model trained on forces has beside its properties': column, description, unit."""

DEFAULTS: Final = {
    DEFAULT_MODEL: "geometries",
    DEFAULT_SMILES_MODEL: "SMILES",
    DEFAULT_FORCE_FIELD: "dynamics",
}
"""What models are taken for if none is named."""

GEOMETRIES: Final = {
    "dft": "relaxed at the data's level of theory",
    "mmff": "MMFF94, from the relaxed conformer",
    "smiles": "MMFF94, from the SMILES",
}
"""Of a data set's molecules, by the name that `molgeo evaluate` takes."""

SMILES_LIMIT: Final = (
    "* From a SMILES the conformer is another one than the label's as well: expect larger errors "
    "than these (README, *How accurate*)."
)

ENERGY_LIMIT: Final = (
    "* Energies are totals at the level of theory; `_atomization` columns are relative to "
    "free atoms at the same level."
)

PROPERTY_LIMITS: Final = (
    "* Closed-shell neutral molecules of the elements above, at geometries of the kind above: this "
    "is no force field, and its gradients mean nothing.",
    ENERGY_LIMIT,
    SMILES_LIMIT,
)

FORCE_LIMITS: Final = (
    "* Molecules of the elements and charge above, at configurations like those of the training "
    "data: energies and their exact forces, no other property.",
    ENERGY_LIMIT,
    "* Local: atoms beyond the cutoff of each other interact only through those between them.",
)

QM9: Final = "QM9"
"""What a header says of its data if they are QM9, whose published errors a card cites."""

ERRORS: Final = {"n", "split", "geometry", "mae"}
SMILES_ERRORS: Final = {"n", "failed", "split", "mae", "rmse", "coverage"}
"""What the header says of errors, if they were measured."""

UNKNOWN: Final = "–"
"""In place of what a header does not say."""

MOST: Final = 2000
"""Characters of a fact."""


def models_table() -> None:
    """Print the shipped models."""
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
            sys.stderr.write(f"molgeo: {error}\n")
            continue
        cells = (
            name,
            DEFAULTS.get(name, ""),
            header.get("data", UNKNOWN),
            f"{header.get('n_train', 0):,}",
            str(len(header["config"]["properties"])),
            f"{path.stat().st_size / 1e6:.1f} MB",
        )
        table.add_row(*map(_plain, cells))
    Console().print(table)


def info(name: str) -> None:
    """Print a model's card: training, domain, units and errors."""
    from rich.console import Console
    from rich.table import Table

    path = find(name)
    header = read_header(path)
    domain = header["domain"]
    console = Console(highlight=False)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column()
    for label, value in {**_facts(header, domain), "environments": environments(domain)}.items():
        facts.add_row(label, _plain(value))
    console.print(_plain(path.stem, "bold underline"))
    console.print(facts)
    mae = header.get("metrics", {}).get("mae", {})
    table = Table("property", "", "unit", "test MAE", box=None, pad_edge=False)
    for one in properties_of(header["config"]):
        error = _number(mae.get(one.column), ".4g")
        table.add_row(*map(_plain, (one.name, one.description, one.unit, error)))
    if header.get("trained_on_forces"):
        for name, (column, description, unit) in FORCE_ERRORS.items():
            error = _number(mae.get(column), ".4g")
            table.add_row(name, description, unit, error)
    console.print()
    console.print(table)
    console.print()
    console.print(_plain(f"file: {path}"), soft_wrap=True)


def _plain(text: str, style: str = "") -> Text:
    """What a stranger's file says, as a terminal shows it: no markup, no control characters."""
    from rich.text import Text

    return Text(one_line(text, MOST), style)


def _facts(header: dict[str, Any], domain: dict[str, Any]) -> dict[str, str]:
    """Label → text of what the header says; what it does not say is left out."""
    config, metrics = header["config"], header.get("metrics", {})
    charge = domain.get("charge", 0)
    trained = [
        header.get("data"),
        f"{header['n_train']:,} molecules" if "n_train" in header else None,
        f"split {header['split']}" if "split" in header else None,
    ]
    training = [
        f"{header['epochs']} epochs" if "epochs" in header else None,
        f"{header['steps']:,} steps" if "steps" in header else None,
        header.get("hardware"),
        header.get("date"),
    ]
    errors = [
        f"{metrics['n']:,}" if "n" in metrics else None,
        f"{metrics['split']} molecules" if "split" in metrics else None,
    ]
    geometry = f", {metrics['geometry']} geometries" if "geometry" in metrics else ""
    facts = {
        "backbone": f"{config['model']} {config['backbone']}",
        "trained on": ", ".join(filter(None, trained)),
        "level of theory": header.get("level_of_theory"),
        "geometries": header.get("geometry_source"),
        "training": ", ".join(filter(None, training)),
        "elements": ", ".join(SYMBOLS[z] for z in domain["elements"]),
        "charge": f"{charge:+d}" if charge else "0",
        "atoms": f"up to {domain['max_atoms']} in training; larger molecules are extrapolation",
        "shortest distance": f"{domain['min_distance']:.2f} Å",
        "errors measured on": " ".join(filter(None, errors)) + geometry if any(errors) else "",
    }
    return {label: one_line(value, MOST) for label, value in facts.items() if value}


def environments(domain: dict[str, Any]) -> str:
    """How much of its training data a model remembers, to tell what it does not know."""
    known = domain.get("environments")
    if not known:
        return "not recorded: it cannot tell which molecules it does not know"
    few = ", ".join(known["formulas"])
    return (
        f"{len(known['counts'])} kinds of bonded atoms in {known['configurations']:,} "
        f"configurations, {known['periodic']:,} of them periodic"
        + (f"; {few} alone" if few else "")
    )


def _number(value: float | None, form: str) -> str:
    """A number, or a dash for one that a header has as null or not at all."""
    return UNKNOWN if value is None else format(value, form)


def markdown(header: dict[str, Any]) -> str:
    """A model card: what the model is, how it was made, and its errors beside published ones.

    Args:
        header: of a checkpoint. Sections that it does not say all of are left out.

    Returns:
        Markdown.
    """
    header = {"name": "model", "geometry_source": UNKNOWN, **header}
    lines = [f"# {one_line(header['name'], MOST)}", ""]
    lines += [
        f"* **{label}**: {value}" for label, value in _facts(header, header["domain"]).items()
    ]
    is_force_field = header.get("trained_on_forces", False)
    if header.get("metrics", {}).keys() >= ERRORS:
        lines += (_force_errors if is_force_field else _property_errors)(header)
    if header.get("from_smiles", {}).keys() >= SMILES_ERRORS:
        lines += _smiles_errors(header)
    if header.get("curve"):
        lines += _training(header)
    if header.get("notes"):
        lines += ["", "## Notes", "", header["notes"]]
    is_from_smiles = header.get("from_smiles") or header.get("geometry") == "smiles"
    left_out = [SMILES_LIMIT] if is_from_smiles else []
    if not any(one.is_energy for one in properties_of(header["config"])):
        left_out.append(ENERGY_LIMIT)
    limits = FORCE_LIMITS if is_force_field else PROPERTY_LIMITS
    lines += ["", "## Limits", "", *(line for line in limits if line not in left_out)]
    return "\n".join(lines) + "\n"


def _property_errors(header: dict[str, Any]) -> list[str]:
    """Errors of a model of properties; on QM9 beside published ones."""
    metrics = header["metrics"]
    title = f"## Mean absolute errors on {metrics['n']:,} {metrics['split']} molecules"
    geometries = GEOMETRIES.get(metrics["geometry"], header["geometry_source"])
    where = f"At these geometries: {geometries}; `molgeo evaluate --model {header['name']} --data"
    if header.get("data") != QM9:
        again = f"{where} RUN/config.yaml --split {metrics['split']}` repeats them."
        title = title.replace("Mean absolute errors", "Errors")
        return ["", title, "", *_table(header, metrics, again)]
    lines = [
        "",
        title,
        "",
        f"{where} qm9 --split {metrics['split']} --geometry {metrics['geometry']}` repeats them. "
        "The published models were trained for one property each; this one predicts all of them at "
        "once. Their numbers are second-hand, from comparison tables of later papers.",
        "",
        "| property | unit | this model | "
        + " | ".join(f"{m} (published)" for m in QM9_MAE)
        + " |",
        "|---|---|---" + "|---" * len(QM9_MAE) + "|",
    ]

    def cells(known: Property) -> list[str]:
        published = [table.get(known.name) for table in QM9_MAE.values()]
        return [_number(mae, ".3g") for mae in (metrics["mae"].get(known.column), *published)]

    return [*lines, *_property_rows(header, cells)]


def _training(header: dict[str, Any]) -> list[str]:
    """How a model was trained, and how its validation loss fell."""
    steps, losses = zip(*header["curve"], strict=True)
    return [
        "",
        "## Training",
        "",
        f"    {one_line(header.get('command', UNKNOWN), 20_000)}",
        "",
        f"| step | {' | '.join(f'{step:,}' for step in steps)} |",
        "|---" + "|--:" * len(steps) + "|",
        f"| validation loss | {' | '.join(_number(loss, '.4f') for loss in losses)} |",
    ]


def _smiles_errors(header: dict[str, Any]) -> list[str]:
    """Errors of a model of properties from SMILES, and how well it knows them."""
    found = header["from_smiles"]
    about = "Averages over conformers at MMFF94, made from the SMILES."
    if header.get("data") == QM9:
        about = (
            "Averages over conformers at MMFF94, with QM9's stereo; `molgeo evaluate --model "
            f"{header['name']} --data qm9 --split {found['split']} --geometry smiles --limit "
            f"{found['n'] + found['failed']}` repeats them. QM9's own conformer is often another "
            "one: the dipole and the extent of another conformer are no errors of the model."
        )
    title = f"## From SMILES: errors on {found['n']:,} {found['split']} molecules"
    return ["", title, "", *_table(header, found, about)]


def _table(header: dict[str, Any], found: dict[str, Any], about: str) -> list[str]:
    """What errors are of; those of each property; the shares of labels within error bars."""
    coverage = found.get("coverage", {})
    if coverage:
        about += (
            " The last two columns are the shares of these molecules whose label lies within value "
            "± `_std` and between `_low90` and `_high90`, which were calibrated on validation "
            "molecules."
        )
    columns = ["property", "unit", "mean absolute", "root mean square"]
    columns += ["within ± std", "within 90%"] if coverage else []

    def cells(known: Property) -> list[str]:
        errors = [found.get(kind, {}).get(known.column) for kind in ("mae", "rmse")]
        shares = [*coverage.get(known.column, {}).values(), None, None][: len(columns) - 4]
        return [
            *(_number(error, ".3g") for error in errors),
            *(_number(share, ".0%") for share in shares),
        ]

    return [
        about,
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *_property_rows(header, cells),
    ]


def _property_rows(header: dict[str, Any], cells: Callable[[Property], list[str]]) -> list[str]:
    """One row of a table for each property of a model, with what ``cells`` says of it."""
    known = properties_of(header["config"])
    return [f"| {k.symbol}, {k.name} | {k.unit} | " + " | ".join(cells(k)) + " |" for k in known]


def _force_errors(header: dict[str, Any]) -> list[str]:
    """Errors of a model of energies and forces."""
    metrics = header["metrics"]
    lines = [
        "",
        f"## Errors on {metrics['n']:,} {metrics['split']} configurations",
        "",
        "Of the total energy, of the energy divided by the atoms, and of a force's component.",
        "",
        "| | unit | mean absolute | root mean square |",
        "|---|---|---|---|",
    ]
    columns = {"energy": ("energy_eV", "", "eV"), **FORCE_ERRORS}
    for name, (column, _, unit) in columns.items():
        errors = [metrics.get(kind, {}).get(column) for kind in ("mae", "rmse")]
        cells = [_number(None if e is None else 1000 * e, ".3g") for e in errors]
        lines.append(f"| {name} | m{unit} | {' | '.join(cells)} |")
    return lines
