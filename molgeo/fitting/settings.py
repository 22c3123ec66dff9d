"""How a model of a user's own values is fitted: each setting is written once, here.

A field of `FitSettings` is a keyword of `molgeo.fit`, and an option of ``molgeo fit``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from molgeo.runtime.errors import SettingError
from molgeo.runtime.options import option
from molgeo.runtime.plain_text import shown

Pooling = Literal["auto", "kernel", "moments", "mean", "sum", "dipole"]
Kind = Literal["auto", "regression", "classification"]
Source = Literal["auto", "given", "smiles"]


@dataclass(frozen=True)
class FitSettings:
    """How a model is fitted. Each field's ``metadata["help"]`` says what it does.

    Raises:
        SettingError: a value that is none of those that a field takes.
    """

    target: str | Sequence[str] = option(
        None,
        "title of the column to learn, or several: logS,logP; one with a comma in double quotes",
        str,
        required=True,
    )
    unit: str | Sequence[str] = option(
        "", "unit of the values, such as 'log mol/L'; of several columns one each, with commas"
    )
    smiles: str | None = option(
        None, "column with SMILES or InChI: its title, or its number from 1; else it is found"
    )
    split: str = option(
        "scaffold",
        "which rows are tested on: scaffold, molecules whose scaffold is in no training row; "
        "random; or the title of a column that says train or test. Errors of the other split are "
        "told too",
    )
    test_fraction: float = option(
        0.1, "part of the rows to test on, if no column says it; 0 for none"
    )
    members: int | None = option(None, "models whose mean is the answer; by the rows", int | None)
    folds: int | None = option(
        None,
        "parts of the other rows, of which each member is stopped by one; by the rows",
        int | None,
    )
    from_scratch: bool = option(False, "begin with random weights, not with a shipped backbone")
    start_from: str | None = option(
        None, "shipped name or path of the model to begin with, if it is another one"
    )
    kind: Kind = option("auto", "numbers, or the probability of one of two classes", Kind)
    pooling: Pooling = option(
        "auto",
        "from atoms to a molecule: kernel, a Gaussian process on what their features come to in "
        "all, on average, at most; moments, a network of the same; the mean of what each atom "
        "says, or the sum, for what grows with a molecule; the length of a dipole. auto: the one "
        "with the smallest error on held-out rows",
        Pooling,
    )
    coordinates_alone: bool = option(
        False,
        "a kernel sees nothing of the bonds (RDKit's descriptors such as logP, substructures), so "
        "that the model also takes coordinates whose bonds nobody knows",
    )
    geometry: Source = option(
        "auto", "coordinates as given in the table, or conformers made from the smiles", Source
    )
    conformers: int | None = option(None, "made of each SMILES; by the rows", int | None)
    strip_salts: bool = option(
        False, "of a SMILES with several fragments take the largest one, neutralised"
    )
    output: str | None = option(
        None, "folder for the model, its report and what is needed to resume; runs/TABLE"
    )
    seed: int = option(42, "of the split, of weights and of shuffling")
    epochs: int | None = option(
        None,
        "most passes through the rows per member in which the backbone is trained too, which takes "
        "long and may pay from some thousand rows on; none for heads of moments, else by the rows",
        int | None,
    )
    threads: int = option(0, "CPU threads; 0 for all")
    device: str = option("auto", "device to train on: auto, cpu, cuda")
    resume: bool = option(False, "go on with a fit that was stopped, in its folder")
    force: bool = option(False, "begin anew in a folder that holds a fit already")

    def __post_init__(self) -> None:
        for name, least in (("members", 1), ("folds", 2), ("conformers", 1), ("epochs", 1)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= least):
                raise SettingError(
                    f"{name}: expected a whole number from {least}, got {shown(value)}"
                )
        if not 0 <= self.test_fraction < 1:
            raise SettingError(
                f"test_fraction: expected 0 or more and below 1, got {self.test_fraction}"
            )
        if not self.titles:
            raise SettingError(f"target: expected the title of a column, got {shown(self.target)}")
        for name, known in (("kind", Kind), ("pooling", Pooling), ("geometry", Source)):
            if getattr(self, name) not in known.__args__:  # type: ignore[attr-defined]
                listed = ", ".join(known.__args__)  # type: ignore[attr-defined]
                raise SettingError(
                    f"{name}: expected one of {listed}, got {shown(getattr(self, name))}"
                )
        if self.pooling == "kernel" and (self.from_scratch or self.epochs):
            other = "from_scratch" if self.from_scratch else "epochs"
            raise SettingError(
                f"pooling: a kernel stands on a backbone that has learned and does not change; "
                f"leave out {other}, or choose another pooling"
            )
        if self.from_scratch and self.start_from:
            raise SettingError("from_scratch: means nothing beside start_from; leave one out")
        if len(self.units) != len(self.titles):
            raise SettingError(
                f"unit: expected one for each of {len(self.titles)} targets, got {len(self.units)}"
            )

    @property
    def titles(self) -> list[str]:
        """Titles of the targets."""
        return _listed(self.target)

    @property
    def units(self) -> list[str]:
        """One per target."""
        found = _listed(self.unit)
        return found or [""] * len(self.titles)

    def of_fit(self) -> dict[str, Any]:
        """Those that make a fit the one it is, so that they cannot change when it is resumed."""
        names = set(self.__dataclass_fields__) - {"output", "resume", "force", "threads", "device"}
        plain = {name: getattr(self, name) for name in sorted(names)}
        return plain | {"target": self.titles, "unit": self.units}

    def folder(self, name: str) -> Path:
        """The folder of the fit.

        Args:
            name: of the table.
        """
        return Path(self.output) if self.output else Path("runs") / name


def _listed(given: Any) -> list[str]:
    """Titles or units: a list, or text with commas between them, as a row of a table has it."""
    if isinstance(given, str):
        given = next(csv.reader([" ".join(given.splitlines())], skipinitialspace=True), [])
    items = [str(one).strip() for one in given or []]
    return [one for one in items if one]
