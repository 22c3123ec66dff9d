"""Checkpoints: one safetensors file whose JSON header says what it is and can prove it.

The header holds the format version, the predictor's config, what it was trained on (data set,
split, seed, level of theory, geometry source), metrics, the domain record and a self-test: inputs
with the outputs they gave when the file was written. Header and weights each have a SHA-256, so
that no flipped bit goes unseen; those of shipped files stand in the package.

A file may come from anyone. Nothing is ever unpickled; the header is strict JSON of bounded size
whose fields have types and ranges (`header`); and no tensor is made before the shapes that the
config asks for are those of the file (`outline`). Loading is file → header → checksums → migrate →
fields → shapes → build → weights → self-test, and all that can be wrong on the way is a
`CheckpointError` of one line.
"""

from molgeo.predictor.checkpoint.catalogue import (
    DEFAULT_FORCE_FIELD,
    DEFAULT_MODEL,
    DEFAULT_OUTSIDE,
    DEFAULT_SMILES_MODEL,
    conformer_weights,
    default_force_field,
    find,
    geometry_engine,
    sha256,
    shipped,
)
from molgeo.predictor.checkpoint.file import CheckpointError
from molgeo.predictor.checkpoint.store import (
    FORMAT_VERSION,
    load,
    read_header,
    save_checkpoint,
    weights_digest,
)

__all__ = [
    "DEFAULT_FORCE_FIELD",
    "DEFAULT_MODEL",
    "DEFAULT_OUTSIDE",
    "DEFAULT_SMILES_MODEL",
    "FORMAT_VERSION",
    "CheckpointError",
    "conformer_weights",
    "default_force_field",
    "find",
    "geometry_engine",
    "load",
    "read_header",
    "save_checkpoint",
    "sha256",
    "shipped",
    "weights_digest",
]
