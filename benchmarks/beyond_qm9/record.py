"""Write what `evaluate.py` finds on the check half into the default models and into README.md.

Each default model's header has it as `outside`, from SMILES as `outside_smiles` if conformers are
relaxed for it, its card shows it, and README.md has a table of two ways to give a molecule. The
first model's figures are those of the default way: what it does not know is another model's. To be
run again whenever labels or error bars have changed; then `make checksums`.

    python benchmarks/beyond_qm9/record.py
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, Final

from evaluate import ENERGY, HERE, OUTSIDE, evaluate, reference

from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_OUTSIDE,
    DEFAULT_SMILES_MODEL,
    find,
    read_header,
)
from molgeo.predictor.header import Outside
from molgeo.training.export import tell

README: Final = Path(__file__).parents[2] / "README.md"
BLOCK: Final = re.compile(r"(?<=<!-- outside QM9 -->\n).*?(?=<!-- end -->)", re.DOTALL)

SOURCE: Final = (
    "{sets}, which QM9 lacks, labelled at its level of theory (`benchmarks/beyond_qm9/`), {given}. "
    f"They are the half that nothing was calibrated by. That {DEFAULT_OUTSIDE} takes over was "
    "decided with their errors in sight, beside those of the other half. U0 is compared as "
    "U0 − ZPVE with the electronic energy; α is labelled for up to 12 heavy atoms."
)
GIVEN: Final = {
    "coordinates": "given as coordinates relaxed with AIMNet2 ({models})",
    "smiles": "given as SMILES ({models}); the label is that of one conformer, so the dipole and "
    "the extent of another one are no errors of the model",
}
KINDS: Final = {
    "drug": "{} drug fragments of 10 to 16 heavy atoms",
    "small": "{} of up to three heavy atoms",
    "conjugated": "{} conjugated, azo and nitro compounds",
}
SHOWN: Final = {"mu_debye": 1, "alpha_bohr3": 1, "homo_eV": 1e3, "lumo_eV": 1e3, "gap_eV": 1e3} | {
    "u0_eV": 1e3
}
"""Columns of README.md's table → factor to the unit that stands there."""
NAMES: Final = {
    "mu_debye": ("dipole moment", "D"),
    "alpha_bohr3": ("polarizability", "a0³"),
    "homo_eV": ("HOMO", "meV"),
    "lumo_eV": ("LUMO", "meV"),
    "gap_eV": ("HOMO–LUMO gap", "meV"),
    "u0_eV": ("internal energy U0", "meV"),
}


def facts(found: dict[str, Any], way: str) -> dict[str, Any]:
    """What a header says of it.

    Args:
        found: as of `evaluate`.
        way: of `evaluate.WAYS`.
    """
    by = {"u0_eV" if c == ENERGY else c: one for c, one in found["by"].items() if "outside" in one}
    counts = {
        name: max((one[name]["n"] for one in by.values() if name in one), default=0)
        for name in OUTSIDE
    }
    models = ", ".join(f"{n} by {name}" for name, n in found["models"].items())
    sets = [KINDS[name].format(n) for name, n in counts.items() if n]
    told = {
        "n": sum(counts.values()),
        "failed": len(found["refused"]),
        "split": "check",
        "geometry": "smiles" if way == "smiles" else "given",
        "source": SOURCE.format(sets=", ".join(sets), given=GIVEN[way].format(models=models)),
        "mae": {c: one["outside"]["mae"] for c, one in by.items()},
        "coverage": {
            c: {"std": one["outside"]["within_std"], "low90_high90": one["outside"]["within_90"]}
            for c, one in by.items()
            if None not in (one["outside"]["within_std"], one["outside"]["within_90"])
        },
        "flagged": by["gap_eV"]["outside"]["flagged"],
        "worst_flagged": {
            c: one["outside"]["worst_tenth_flagged"]
            for c, one in by.items()
            if one["outside"]["worst_tenth_flagged"] is not None
        },
    }
    return {name: value for name, value in told.items() if value is not None}


def readme_table() -> str:
    """README.md's table, from the default models' headers; "" as long as they have no record."""
    header = read_header(find(DEFAULT_MODEL))
    given, smiles = header.outside, header.outside_smiles
    if not (given.n and smiles.n):
        return ""
    both = ((header.metrics, given), (header.from_smiles, smiles))
    lines = [
        "",
        "| | unit | "
        + " | ".join(
            f"{way}: {kind}"
            for way in ("given", "SMILES")
            for kind in ("QM9", "outside", "in 90%", "worst flagged")
        )
        + " |",
        "|---|---" + "|--:" * 8 + "|",
    ]
    for column, (name, unit) in NAMES.items():
        cells = []
        for own, outside in both:
            scale = SHOWN[column]
            maes = [one.mae.get(column) for one in (own, outside)]
            cells += ["–" if one is None else f"{one * scale:.3g}" for one in maes]
            shares = (
                outside.coverage.get(column, {}).get("low90_high90"),
                outside.worst_flagged.get(column),
            )
            cells += ["–" if one is None else f"{one:.0%}" for one in shares]
        lines.append(f"| {name} | {unit} | {' | '.join(cells)} |")
    n = " and ".join(f"{one.n}" for one in (given, smiles))
    about = f"Of {n} molecules, {_share(given)} and {_share(smiles)} are flagged."
    return "\n".join([*lines, "", about, ""])


def _share(outside: Outside) -> str:
    return "–" if outside.flagged is None else f"{outside.flagged:.0%}"


def main() -> None:
    """Write headers, cards and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE, help="of labels and geometries")
    args = parser.parse_args()
    labels = reference(args.folder)
    labels = labels[(labels["part"] == "check") & labels["set"].isin(OUTSIDE)]
    told = {
        (name, field): facts(evaluate(labels, way, asked), way)
        for name, field, way, asked in (
            (DEFAULT_MODEL, "outside", "coordinates", None),
            (DEFAULT_MODEL, "outside_smiles", "smiles", None),
            (DEFAULT_OUTSIDE, "outside", "coordinates", DEFAULT_OUTSIDE),
            (DEFAULT_OUTSIDE, "outside_smiles", "smiles", DEFAULT_OUTSIDE),
            (DEFAULT_SMILES_MODEL, "outside", "smiles", DEFAULT_SMILES_MODEL),
        )
    }  # all of them before a shipped file changes, which molgeo would refuse
    for (name, field), one in told.items():
        tell(find(name), {field: one})
        print(name, field, one["n"], "molecules")
    text = README.read_text()
    README.write_text(BLOCK.sub(lambda _: readme_table(), text))


if __name__ == "__main__":
    main()
