"""What a checkpoint says of itself, as a model card."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Final

from molgeo import models
from molgeo.elements import SYMBOLS
from molgeo.evaluation.published import QM9_MAE
from molgeo.predictor.header import Header, Measured, Outside
from molgeo.properties import Property
from molgeo.runtime.plain_text import one_line

FORCE_ERRORS: Final = {
    "energy/atom": ("energy_eV_atom", "potential energy divided by the atoms", "eV"),
    "forces": ("forces_eV_A", "component of a force", "eV/Å"),
}
"""Errors that a model trained on forces has beside its properties': column, description, unit."""

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

PROPERTY_LIMIT: Final = (
    "* Closed-shell neutral molecules of the elements above, at geometries of the kind above: this "
    "is no force field, and its gradients mean nothing."
)

FIELD_LIMIT: Final = (
    "* Molecules of the elements and charge above, at configurations like those of the training "
    "data: energies and {forces}, no other property."
)

FORCE_LIMITS: Final = (
    ENERGY_LIMIT,
    "* Local: atoms beyond the cutoff of each other interact only through those between them.",
    "* The errors above are those beside the level of theory, whose own errors come on top.",
)

EXPECTED: Final = "expected errors"

QM9: Final = "QM9"
"""What a header says of its data if they are QM9, whose published errors a card cites."""

UNKNOWN: Final = "–"
"""In place of what a header does not say."""

MOST: Final = 2000
"""Characters of a fact."""


def markdown(header: Header) -> str:
    """A model card: what the model is, how it was made, and its errors beside published ones.

    Args:
        header: of a checkpoint. Sections that it says nothing of are left out.

    Returns:
        Markdown.
    """
    lines = [f"# {one_line(header.name or 'model', MOST)}", ""]
    lines += [f"* **{label}**: {value}" for label, value in facts_of(header).items()]
    if header.metrics.n and header.metrics.mae:
        lines += (_force_errors if header.trained_on_forces else _property_errors)(header)
    if header.kept.n:
        lines += _kept(header)
    if header.from_smiles.n:
        lines += _smiles_errors(header)
    for outside in (header.outside, header.outside_smiles):
        lines += _outside_errors(header, outside) if outside.n else []
    if header.notes:  # before the command, which they may speak of as the one below
        lines += ["", "## Notes", "", header.notes]
    if header.curve:
        lines += _training(header)
    is_direct = header.config.backbone.get("direct_forces", False)
    forces = f"forces ({models.DIRECT})" if is_direct else "their exact forces"
    limits = [FIELD_LIMIT.format(forces=forces), *FORCE_LIMITS]
    if not header.trained_on_forces:
        has_energy = any(one.is_energy for one in header.config.properties)
        is_of_smiles = header.from_smiles.n or header.geometry == "smiles"
        limits = [PROPERTY_LIMIT, *([ENERGY_LIMIT] if has_energy else [])]
        limits += [] if is_of_smiles else [SMILES_LIMIT]
    return "\n".join([*lines, "", "## Limits", "", *limits]) + "\n"


def facts_of(header: Header) -> dict[str, str]:
    """Label → text of what the header says; what it does not say is left out."""
    config, domain, errors = header.config, header.domain, header.metrics
    rows = "configurations" if header.trained_on_forces else "molecules"
    measured = f"{errors.n:,} {errors.split} {rows}" if errors.n else ""
    geometry = f", {errors.geometry} geometries" if errors.geometry else ""
    told = header.expected_errors > 0
    facts = {
        "backbone": f"{config.model} {config.backbone}",
        "repulsion": "of screened nuclei, below the lengths of bonds" if config.repulsion else "",
        "trained on": _listed(
            header.data,
            f"{header.n_train:,} {rows}" if header.n_train else "",
            f"split {header.split}" if header.split else "",
        ),
        "rehearsed": _rehearsed(header),
        "level of theory": header.level_of_theory,
        "geometries": header.geometry_source,
        "training": _listed(
            f"{header.epochs} epochs" if header.epochs else "",
            f"{header.steps:,} steps" if header.steps else "",
            header.hardware,
            header.date,
        ),
        "elements": _listed(*(SYMBOLS[z] for z in domain.elements)),
        "charge": _listed(*(f"{one:+d}" if one else "0" for one in domain.seen_charges)),
        "atoms": f"up to {domain.max_atoms} in training; larger molecules are extrapolation",
        "shortest distance": f"{domain.min_distance:.2f} Å",
        "errors measured on": measured and measured + geometry,
        EXPECTED: "of each force (forces_std), beyond a limit a flag" if told else "",
    }
    return {label: one_line(value, MOST) for label, value in facts.items() if value}


def _rehearsed(header: Header) -> str:
    """What a model went on computing of the one that it started from, and how well."""
    share, moved = header.training.get("rehearsal"), header.kept.mae.get("forces_eV_A")
    if not isinstance(share, float) or not share:
        return ""
    before = header.training.get("start_from")
    text = f"{share:.0%} of each batch are structures of other molecules, as {before} has them"
    by = f"their forces have moved by {1000 * moved:.3g} meV/Å, mean absolute" if moved else ""
    return "; ".join(filter(None, (text, by)))


def _property_errors(header: Header) -> list[str]:
    """Errors of a model of properties; on QM9 beside published ones."""
    errors = header.metrics
    n_molecules = f"on {errors.n:,} {errors.split} molecules"
    geometries = GEOMETRIES.get(errors.geometry, header.geometry_source or UNKNOWN)
    if header.is_fit:
        about = f"At these geometries: {geometries}; the folder's rows.csv has them one by one."
        return _measured(header, errors, f"Errors {n_molecules}", about)
    if header.data != QM9 and not header.training:  # by a recipe of its own
        return _measured(header, errors, f"Errors {n_molecules}", f"At geometries {geometries}.")
    about = f"At these geometries: {geometries}; `molgeo evaluate --model {header.name} --data"
    if header.data != QM9:
        about += f" RUN/config.yaml --split {errors.split}` repeats them."
        return _measured(header, errors, f"Errors {n_molecules}", about)
    about += (
        f" qm9 --split {errors.split} --geometry {errors.geometry}` repeats them. "
        "The published models were trained for one property each; this one predicts all of them at "
        "once. Their numbers are second-hand, from comparison tables of later papers."
    )

    def cells(one: Property) -> list[str]:
        published = [table.get(one.name) for table in QM9_MAE.values()]
        return [formatted(mae, ".3g") for mae in (errors.mae.get(one.column), *published)]

    columns = ["this model", *(f"{model} (published)" for model in QM9_MAE)]
    lines = _section(f"Mean absolute errors {n_molecules}", about)
    table = _property_table(header, columns, cells)
    return [*lines, *table, *_by_element(header, errors), *_shares(header, errors, True)]


def _smiles_errors(header: Header) -> list[str]:
    """Errors of a model of properties from SMILES, and how well it knows them."""
    errors = header.from_smiles
    at = f"relaxed with {one_line(errors.engine, 60)}" if errors.engine else "at MMFF94"
    with_partner = (
        f", with a share of those of {one_line(errors.partner, 60)} at MMFF94"
        if errors.partner
        else ""
    )
    if errors.weigher:
        at += f", weighed by {one_line(errors.weigher, 60)}"
    about = f"Averages over conformers {at}{with_partner}, made from the SMILES."
    if header.data == QM9:
        model = "" if errors.partner else f"--model {header.name} "
        about = (
            f"Averages over conformers {at}{with_partner}, with QM9's stereo; `molgeo evaluate "
            f"{model}--data qm9 --split {errors.split} --geometry smiles --limit "
            f"{errors.n + errors.failed}` repeats them. QM9's own conformer is often another "
            "one: the dipole and the extent of another conformer are no errors of the model."
        )
    title = f"From SMILES: errors on {errors.n:,} {errors.split} molecules"
    return _measured(header, errors, title, about)


def _outside_errors(header: Header, errors: Outside) -> list[str]:
    """Errors on molecules unlike the training data, beside those on its own kind."""
    own = header.from_smiles if errors.geometry == "smiles" else header.metrics
    data = one_line(header.data or "its data", MOST)
    columns = ["mean absolute", f"on {data}", "within ± std", "within 90%"]
    columns.append("flagged of the worst tenth")
    about = one_line(errors.source, MOST)
    if errors.flagged is not None:
        about += f" Of these molecules {errors.flagged:.0%} are flagged as outside its domain."

    def cells(one: Property) -> list[str]:
        maes = [formatted(each.mae.get(one.column), ".3g") for each in (errors, own)]
        shares = [*errors.coverage.get(one.column, {}).values(), None, None][:2]
        shares.append(errors.worst_flagged.get(one.column))
        return [*maes, *(formatted(share, ".0%") for share in shares)]

    known = {one.column for one in header.config.properties} & errors.mae.keys()
    way = ", from SMILES" if errors is header.outside_smiles else ""
    title = f"Outside {data}{way}: errors on {errors.n:,} molecules"
    table = _property_table(header, columns, cells, known)
    return [*_section(title, about), *table, *_shares(header, errors)]


def _measured(header: Header, errors: Measured, title: str, about: str) -> list[str]:
    """Both errors of each property, and the shares of labels within error bars."""
    columns = ["mean absolute", "root mean square"]
    if errors.coverage:
        columns += ["within ± std", "within 90%"]
        about += (
            " The last two columns are the shares of these molecules whose label lies within value "
            "± `_std` and between `_low90` and `_high90`, which were calibrated on other molecules "
            "that training did not have."
        )

    def cells(one: Property) -> list[str]:
        both = [formatted(each.get(one.column), ".3g") for each in (errors.mae, errors.rmse)]
        shares = [*errors.coverage.get(one.column, {}).values(), None, None][: len(columns) - 2]
        return [*both, *(formatted(share, ".0%") for share in shares)]

    table = _property_table(header, columns, cells)
    by_element = _by_element(header, errors)
    return [*_section(title, about), *table, *by_element, *_shares(header, errors)]


def _by_element(header: Header, errors: Measured) -> list[str]:
    """Mean absolute errors on the molecules that have an element, if they are known."""
    each = {f"{one_line(symbol, 9)} ({one.n:,})": one for symbol, one in errors.by_element.items()}
    if not each:
        return []

    def cells(one: Property) -> list[str]:
        return [formatted(own.mae.get(one.column), ".3g") for own in each.values()]

    text = "Mean absolute errors on the molecules that have an element, with their number."
    return ["", text, "", *_property_table(header, [*each], cells)]


def _shares(header: Header, errors: Measured, of_all: bool = False) -> list[str]:
    """The shares of labels within error bars by class of molecules, if they are known.

    Args:
        header: of the model.
        errors: with the shares.
        of_all: of all molecules together too, as the table before does not tell them.
    """
    columns = {f"{one_line(name, 60)} ({one.n:,})": one for name, one in errors.classes.items()}
    held = errors.coverage if of_all else {}
    if not (columns or held):
        return []
    known = held.keys() | {name for one in columns.values() for name in one.within_90}
    text = "Shares of labels within the error bars"
    if columns:
        text += ", by class the 90% interval's, with the number of molecules"
    if errors.flagged is not None and not isinstance(errors, Outside):
        text += f". Flagged as outside the model's domain: {errors.flagged:.1%}"

    def cells(one: Property) -> list[str]:
        both = [*errors.coverage.get(one.column, {}).values(), None, None][:2] if held else []
        return [
            *(formatted(share, ".0%") for share in both),
            *(formatted(each.within_90.get(one.column), ".0%") for each in columns.values()),
        ]

    titles = [*(["within ± std", "within 90%"] if held else []), *columns]
    return ["", f"{text}.", "", *_property_table(header, titles, cells, known)]


def _force_errors(header: Header) -> list[str]:
    """Errors of a model of energies and forces."""
    errors = header.metrics
    title = f"Errors on {errors.n:,} {errors.split} configurations"
    about = "Of the total energy, of the energy divided by the atoms, and of a force's component."
    lines = [*_section(title, about), *_force_table(errors)]
    if len(kinds := errors.forces_eV_A_by_element) > 1:
        about = "Of a force's component by element, mean absolute, in meV/Å: "
        lines += ["", f"{about}{_in_milli(kinds)}."]
    if errors.by_charge:
        by_charge = {q: one.mae.get("forces_eV_A") for q, one in errors.by_charge.items()}
        lines += ["", f"By total charge: {_in_milli(by_charge)}."]
    return lines


def _kept(header: Header) -> list[str]:
    """How far a model is from the one that it started from, on molecules unlike its data."""
    before = one_line(header.training.get("start_from") or "its start", MOST)
    about = (
        f"On structures of other molecules that {before} labelled and no batch had. These are no "
        f"errors: what {before} is wrong by comes on top."
    )
    lines = _section(f"Distance from {before} on {header.kept.n:,} other structures", about)
    return [*lines, *_force_table(header.kept)]


def _force_table(errors: Measured) -> list[str]:
    """Errors of energies and forces."""
    lines = _head(["", "unit", "mean absolute", "root mean square"])
    for name, (column, _, unit) in {"energy": ("energy_eV", "", "eV"), **FORCE_ERRORS}.items():
        both = [each.get(column) for each in (errors.mae, errors.rmse)]
        cells = [formatted(None if e is None else 1000 * e, ".3g") for e in both]
        lines.append(f"| {name} | m{unit} | {' | '.join(cells)} |")
    return lines


def _in_milli(errors: Mapping[str, float | None]) -> str:
    """Errors by name, a thousand times as large."""
    each = ((name, None if e is None else 1000 * e) for name, e in errors.items())
    return ", ".join(f"{name} {formatted(e, '.3g')}" for name, e in each)


def _training(header: Header) -> list[str]:
    """How a model was trained, and how its validation loss fell."""
    steps, losses = zip(*header.curve, strict=True)
    return [
        *_section("Training", f"    {one_line(header.command or UNKNOWN, 20_000)}"),
        f"| step | {' | '.join(f'{step:,}' for step in steps)} |",
        "|---" + "|--:" * len(steps) + "|",
        f"| validation loss | {' | '.join(formatted(loss, '.4f') for loss in losses)} |",
    ]


def _property_table(
    header: Header,
    columns: list[str],
    cells: Callable[[Property], list[str]],
    known: Container[str] | None = None,
) -> list[str]:
    """A table of one row per property of a model, with what ``cells`` says of it.

    Args:
        header: of the model.
        columns: titles behind property and unit.
        cells: property → what stands in these columns.
        known: columns of the properties that have a row; None for all.
    """
    rows = [
        f"| {', '.join(dict.fromkeys((one.symbol, one.name)))} | {one.unit} | "
        f"{' | '.join(cells(one))} |"
        for one in header.config.properties
        if known is None or one.column in known
    ]
    return [*_head(["property", "unit", *columns]), *rows]


def _section(title: str, text: str) -> list[str]:
    return ["", f"## {title}", "", text, ""]


def _head(columns: list[str]) -> list[str]:
    names = "".join(f" {name} |" if name else " |" for name in columns)
    return [f"|{names}", "|---" * len(columns) + "|"]


def _listed(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def formatted(value: float | None, form: str) -> str:
    """A number, or a dash for one that a header has as null or not at all."""
    return UNKNOWN if value is None else format(value, form)
