"""How molecules are read and predicted: each setting is written once, here.

A field of `PredictSettings` is a keyword of `molgeo.predict` and `predict_rows`, with its line in
their docstrings, and an option of ``molgeo predict``, with its line in the help. A field of
`OutputSettings` is an option of the command only.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, SupportsIndex, TypeVar, cast

from molgeo.runtime.errors import InputError, UnknownSettingError
from molgeo.runtime.options import option

if TYPE_CHECKING:
    from pathlib import Path

    from molgeo.chem.files.formats import ReadOptions
    from molgeo.predictor import Predictor

Returned = TypeVar("Returned")

Geometry = Literal["auto", "given", "mmff", "smiles"]
"""As `molgeo.chem.building.GeometrySource`, which is slow to import."""


@dataclass(frozen=True)
class PredictSettings:
    """How molecules are read and predicted. Each field's ``metadata["help"]`` says what it does.

    Attributes:
        weighs: conformers of SMILES are weighed for models of QM9's labels.

    Raises:
        InputError: a value that is none of those that a field takes.
    """

    weighs: ClassVar[bool] = True

    model: str | Path | Predictor | None = option(
        None,
        "shipped name or path; else one for given geometries that look relaxed at the level of the "
        "data and for those of a SMILES, which are relaxed first, and one for other given ones",
    )
    properties: str | Sequence[str] | None = option(
        None, "names or output columns, such as gap,mu; all if not given"
    )
    conformers: int | None = option(
        None,
        "conformers per SMILES, over which values are averaged. If not given, 16 for models of "
        "QM9's labels, of which those that a label may be of are relaxed and counted, and 8 for "
        "others; 1 if fast. A number from 2 on adds columns: the spread, the value of the lowest "
        "one, the Boltzmann average and, of a calibrated model, an interval that holds 90% of "
        "QM9's molecules (of a model of your own values always)",
        int | None,
    )
    batch_size: int | Literal["auto"] = option(
        "auto", "most molecules of a batch; auto bounds the work of a batch", str
    )
    device: str = option("auto", "device to compute on: auto, cpu, cuda …")
    strict: bool = option(False, "stop at the first row that is bad or outside the model's domain")
    geometry: Geometry = option(
        "auto",
        "auto: coordinates as given, else conformers of the SMILES; without --model the default "
        "model that fits where given coordinates come from, as their bond lengths tell. given: "
        "as given, and the default model for given coordinates wherever they come from; mmff: "
        "given, minimised with MMFF94; smiles: from the SMILES",
        Geometry,
    )
    _: KW_ONLY
    fast: bool = option(
        False,
        "of a SMILES one conformer at MMFF94, and the model that was trained on such geometries: "
        "far faster, with larger errors",
    )
    input_format: str | None = option(
        None,
        "format of standard input and of all files: smi, csv, tsv, txt, xyz, sdf, parquet …; else "
        "by the ending of a file, and SMILES lines on standard input",
    )
    smiles_column: str | int | None = option(
        None, "column of a table with SMILES or InChI: its title, or its number from 1"
    )
    name_column: str | int | None = option(
        None, "column of a table, or field of an SDF, with names: its title, or its number from 1"
    )
    keep_columns: bool | None = option(
        None,
        "take all columns of a table, all fields of an SDF, all values of extxyz and ASE's files "
        "and all key=value of an xyz along to the output; else one column that identifies "
        "molecules, if the names are others. A column whose title the output has too is called "
        "input_TITLE",
        bool,
    )
    strip_salts: bool = option(
        False,
        "of several fragments predict the largest that is no counterion or solvent, neutralised; "
        "the column stripped tells the others",
    )
    each_conformer: bool = option(
        False, "a row for each conformer of an RDKit Mol (Python); else their average"
    )
    enumerate_stereo: bool = option(
        False,
        "a row per isomer of a SMILES that leaves centres or double bonds open, up to 32; of each "
        "pair of enantiomers one, as they have the same values, and none that cannot be embedded",
    )
    max_smiles_length: int = option(5000, "characters up to which a SMILES is read")
    max_atoms: int = option(
        300, "atoms, with hydrogens, up to which conformers are made of a SMILES"
    )
    max_seconds: float = option(60.0, "processor time for the conformers of a row, s")
    max_memory: float = option(1000.0, "memory for the conformers of a row, MB")

    def __post_init__(self) -> None:
        n = self.conformers
        if n is not None and (not isinstance(n, SupportsIndex) or int(n) < 1):
            raise InputError(f"conformers must be a whole number from 1 on, got {n!r}")
        known = Geometry.__args__  # type: ignore[attr-defined]
        if self.geometry not in known:
            raise InputError(f"geometry must be one of {', '.join(known)}, got {self.geometry!r}")
        for name in ("max_smiles_length", "max_atoms"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number from 1 on, got {value!r}")
        for name in ("max_seconds", "max_memory"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise InputError(f"{name} must be a number above 0, got {value!r}")

    def read_options(self, say: Callable[[str], None] | None = None) -> ReadOptions:
        """How inputs are read.

        Args:
            say: is called with one line about each table: which columns were taken.
        """
        from molgeo.chem.files.formats import ReadOptions

        names = {field.name for field in fields(ReadOptions)} - {"say", "smiles_option"}
        return ReadOptions(say=say, **{name: getattr(self, name) for name in names})


Pooling = Literal["mean", "sum"]


@dataclass(frozen=True)
class EmbedSettings(PredictSettings):
    """How features are made. Each field's ``metadata["help"]`` says what it does.

    Raises:
        InputError: a value that is none of those that a field takes, or no model.
    """

    weighs = False

    model: str | Path | Predictor | None = option(None, "shipped name or path; it must be given")
    properties: None = option(None, "")
    conformers: int | None = option(
        None,
        "conformers per SMILES, over which features are averaged; 8 if not given, 1 if fast",
        int | None,
    )
    atoms: bool = option(False, "a row per atom, hydrogens too, not per molecule")
    pooling: Pooling = option(
        "mean",
        "mean or sum over the atoms of a molecule; over its conformers it is the mean",
        Pooling,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model is None:
            raise InputError(
                "model: features are those of one model: name it, such as spectrum_net-qm9"
            )
        if self.pooling not in ("mean", "sum"):
            raise InputError(f"pooling must be one of mean, sum, got {self.pooling!r}")


@dataclass(frozen=True)
class OutputSettings:
    """Where rows go, and as what. Each field's ``metadata["help"]`` says what it does."""

    output: str | None = option(
        None, "file to write; it is there once all rows are, and FILE.part until then"
    )
    format: str | None = option(
        None,
        "by the ending of --output; else a table on a terminal, csv in a pipe. A table in a pipe "
        "has a line per row; if the variable COLUMNS is exported, it is as on a terminal that wide",
        Literal["table", "csv", "tsv", "json", "jsonl", "sdf"],
    )
    write_geometries: str | None = option(
        None, "file for the conformers as they were predicted: .sdf or .extxyz"
    )
    report: str | None = option(
        None,
        "file for a page that a browser opens without a network: a table that sorts and searches, "
        "drawings, structures that turn, histograms; .html",
    )
    raw_csv: bool = option(
        False, "leave cells of csv as they are that a spreadsheet takes for formulas"
    )
    force: bool = option(False, "replace files that are there, and begin a stopped run anew")
    resume: bool = option(False, "go on with a run that was stopped: with its --output.part")


def takes_settings(
    function: Callable[[Any, Any], Returned], kind: type[PredictSettings] = PredictSettings
) -> Callable[..., Returned]:
    """Let a function of inputs and settings take each setting as an argument of its own.

    Args:
        function: of ``(inputs, settings)``.
        kind: of the settings.

    Returns:
        The function of inputs and of all fields of the settings that have a help. Its signature and
        docstring list them; a name that is none of them is a TypeError that names the nearest.
    """
    own = inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Any)
    told = {one.name: one.metadata["help"] for one in fields(kind) if one.metadata["help"]}
    signature = inspect.signature(kind)
    signature = signature.replace(
        parameters=[own, *(one for name, one in signature.parameters.items() if name in told)],
        return_annotation=inspect.signature(function).return_annotation,
    )
    known = list(signature.parameters)

    @functools.wraps(function)
    def wrapped(*arguments: Any, **keywords: Any) -> Returned:
        for name in keywords:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
                raise UnknownSettingError(f"{function.__name__}: no argument {name!r}{hint}")
        given = signature.bind(*arguments, **keywords).arguments
        return function(given.pop("inputs"), kind(**given))

    listed = [f"    {name}: {help}" for name, help in told.items()]
    doc = inspect.cleandoc(function.__doc__ or "")
    wrapped.__doc__ = "\n".join([doc, "", "Settings:", *listed])
    cast(Any, wrapped).__signature__ = signature
    return wrapped
