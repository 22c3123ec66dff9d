"""The commands ``predict`` and ``embed``: their options are the fields of the settings."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import Namespace

from molgeo.cli.command import Parser, command, positional, settings_from
from molgeo.prediction.settings import EmbedSettings, OutputSettings, PredictSettings


def _notes() -> str:
    """What can be predicted, read and written, and what the exit status says."""
    from molgeo.chem.files.formats import formats
    from molgeo.data.forces.properties import ENERGY
    from molgeo.data.qm9.properties import PROPERTIES
    from molgeo.prediction.rows import MEANINGS, ROW_MEANINGS
    from molgeo.prediction.writers import FORMATS as OUTPUTS
    from molgeo.runtime.errors import MEANING

    known = [*PROPERTIES.values(), ENERGY]
    properties = [(one.name, one.unit, one.description) for one in known]
    energies = ", ".join(one.name for one in known if one.is_energy)
    return "\n".join(
        [
            "properties of the shipped models, with the units of their columns:",
            *_columns(properties),
            f"  {energies}: with _atomization too, relative to free atoms (u0_atomization).",
            "  Which of them there are, and which others, depends on the model: molgeo info MODEL.",
            "",
            "columns of each row:",
            *_columns(list(ROW_MEANINGS.items())),
            "",
            "columns of each property, such as gap_eV_std:",
            *_columns(list(MEANINGS.items())),
            "",
            "input: SMILES or InChI, - for lines of them on standard input, or files:",
            *_columns([(name, " ".join(one.endings)) for name, one in formats().items()]),
            "  Text files may be gzipped (.gz).",
            "",
            "output:",
            *_columns([(name, *about) for name, about in OUTPUTS.items()]),
            "",
            "exit status:",
            *_columns([(str(status), meaning) for status, meaning in MEANING.items()]),
        ]
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of text, aligned."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


@command(
    "molgeo predict CCO benzene.xyz --properties gap,mu --output out.csv",
    positional("inputs", "SMILES, file, or - for stdin", nargs="+", type=None),
    PredictSettings,
    OutputSettings,
    notes=_notes,
)
def predict(options: Namespace) -> int:
    """Properties of molecules."""
    from molgeo.prediction.command import run_predict

    settings = settings_from(options, PredictSettings)
    return run_predict(options.inputs, settings, settings_from(options, OutputSettings))


def _output(parser: Parser) -> None:
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="file to write: .npz, .parquet or .csv"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


@command(
    "molgeo embed molecules.smi --model spectrum_net-qm9 --output features.npz",
    positional("inputs", "SMILES, file, or - for stdin", nargs="+", type=None),
    EmbedSettings,
    _output,
)
def embed(options: Namespace) -> int:
    """Features of molecules or atoms, as a model has them, for other methods to learn from."""
    from molgeo.prediction.embedding import run_embed

    settings = settings_from(options, EmbedSettings)
    return run_embed(options.inputs, settings, options.output, options.force)
