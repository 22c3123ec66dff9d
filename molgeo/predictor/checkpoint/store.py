"""Writing and loading checkpoints."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch

from molgeo import models
from molgeo.predictor.checkpoint import file, self_test
from molgeo.predictor.checkpoint.catalogue import (
    DEFAULT_MODEL,
    ENDING,
    check_shipped,
    find,
    sha256,
    shipped,
)
from molgeo.predictor.checkpoint.file import SEAL, CheckpointError, finite, parse, seal
from molgeo.predictor.checkpoint.migrations import MIGRATIONS, Weights
from molgeo.predictor.checkpoint.outline import check_shapes, storable
from molgeo.predictor.expected_errors import ExpectedErrors
from molgeo.predictor.familiarity import Familiarity
from molgeo.predictor.header import Facts, Header, header_of
from molgeo.predictor.predictor import Predictor
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.whole_file import replacing

FORMAT_VERSION: Final = 4

RECORDS: Final = {"familiarity": Familiarity, "expected_errors": ExpectedErrors}
"""Of a predictor, what is known of its training data: attribute → class. In a file the names of its
tensors begin with the attribute and a point; all others are weights."""


def save_checkpoint(
    predictor: Predictor, path: str | Path, facts: Facts | Mapping[str, Any]
) -> None:
    """Write a predictor with its header and self-test, all or nothing.

    Args:
        predictor: with its `domain` set and float32 weights.
        path: ends in ``.safetensors``.
        facts: what the file says of itself beside config and domain, also as plain JSON values, of
            which NaN and infinities become null.

    Raises:
        ValueError: the path has another ending, the predictor has no domain, it has other than
            float32 weights or a buffer of whole numbers, it gives NaN for its own self-test, or a
            fact could not be loaded again.
        TypeError: a value is none of JSON's.
        OSError: the file cannot be written; an old one is left as it was.
    """
    path = Path(path)
    if path.suffix != ENDING:
        raise SettingError(f"checkpoint: expected a path that ends in {ENDING}, got {path}")
    if predictor.domain is None:
        raise ValueError("checkpoint: the predictor has no domain record, so it cannot be saved")
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in (storable(predictor) | _record_tensors(predictor)).items()
    }
    domain = dataclasses.asdict(predictor.domain)
    record = {
        **(facts.told() if isinstance(facts, Facts) else facts),
        **_signals(predictor),
        "format": FORMAT_VERSION,
        "config": predictor.config.model_dump(mode="json", exclude_defaults=True),
        "domain": {key: value for key, value in domain.items() if value is not None},
        "self_test": self_test.make(predictor).model_dump(mode="json"),
        "sha256": file.digest(tensors),
    }
    record.pop(SEAL, None)
    text = seal(finite(record))
    header_of(parse(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(safetensors.torch.save(tensors, metadata={file.KEY: text}))


def load(name: str | Path | None = None, verify: bool = True) -> Predictor:
    """Load a shipped model or a checkpoint file, on the CPU, ready to predict.

    Args:
        name: name of a shipped model, a path, or None for the default model.
        verify: run the self-test, which costs a few milliseconds.

    Returns:
        The predictor, in evaluation mode.

    Raises:
        CheckpointError: no such model, or the file is truncated, altered, foreign, too new, or
            does not reproduce its own outputs; or its backbone is of a package that is neither
            installed as one of models nor imported (`molgeo.models`).
    """
    name = DEFAULT_MODEL if name is None else name
    path = find(name)
    if str(name) in shipped():
        check_shipped(path)
    header, tensors = _read(path)
    with _refusing(path, "its backbone is not at hand"):
        models.model_class(header.config.model, trusted=False)
    with _refusing(path, "header and weights do not fit together"):
        config = dict(header.config)
        tensors, known = _parted(tensors)
        check_shapes(config, tensors)
        _check_numbers(tensors)
        predictor = Predictor(**config).eval()
        predictor.load_state_dict(tensors, strict=True)
        for record, kind in RECORDS.items():
            if getattr(header, record):
                setattr(predictor, record, kind.of(known[record], predictor.backbone.feature_dim))
        predictor.domain, predictor.header, predictor.name = header.domain, header, path.stem
        predictor.sha256 = sha256(name)
        if verify:
            self_test.run(predictor, header.self_test)
    return predictor


def read_header(name: str | Path) -> Header:
    """The header of a shipped model or a checkpoint file, migrated to the present version.

    Raises:
        CheckpointError: no such model, or its header is damaged, foreign or too new.
    """
    return _read(find(name), weights=False)[0]


def _read(path: Path, weights: bool = True) -> tuple[Header, Weights]:
    """Header and weights of a file, checked against their checksums, migrated, fields checked."""
    text, tensors = file.read(path, weights)
    with _refusing(path, "its header is damaged"):
        record = parse(text)
        # A newer format may keep its checksums elsewhere, so its version is looked at first.
        version = _version(record, path)
        record.pop(SEAL, None)
        if text != seal(record):
            raise CheckpointError.of(path, "the header is not the one that was written (checksum)")
        if weights and record.get("sha256") != file.digest(tensors):
            raise CheckpointError.of(path, "the weights are not those that were written (checksum)")
    with _refusing(path, "the header is not one of a model"):
        for old in range(version, FORMAT_VERSION):
            record, tensors = MIGRATIONS[old](record, tensors)
        return header_of(record), tensors


def _version(record: Any, path: Path) -> int:
    version = record.get("format") if isinstance(record, dict) else None
    if type(version) is not int or not (version in MIGRATIONS or version == FORMAT_VERSION):
        raise CheckpointError.of(
            path,
            f"format version {one_line(repr(version), 40)} is unknown to this molgeo, which reads "
            f"versions {min(MIGRATIONS, default=FORMAT_VERSION)} to {FORMAT_VERSION}; "
            "a newer molgeo may read it",
        )
    return version


def _signals(predictor: Predictor) -> dict[str, int]:
    """How many signals of a molecule each record gives; what has none is 0, or is left out."""
    known = {name: getattr(predictor, name) for name in RECORDS}
    found = {name: one.n_signals for name, one in known.items() if one is not None}
    return {"familiarity": 0, **found}


def _record_tensors(predictor: Predictor) -> Weights:
    known = {name: getattr(predictor, name) for name in RECORDS}
    tensors = {name: one.tensors() for name, one in known.items() if one is not None}
    return {f"{name}.{k}": t for name, own in tensors.items() for k, t in own.items()}


def _parted(tensors: Weights) -> tuple[Weights, dict[str, Weights]]:
    """The weights, and the tensors of each of `RECORDS` by their own names."""
    weights, known = dict(tensors), {}
    for record in RECORDS:
        start = f"{record}."
        own = [name for name in tensors if name.startswith(start)]
        known[record] = {name.removeprefix(start): weights.pop(name) for name in own}
    return weights, known


def _check_numbers(tensors: Weights) -> None:
    """Refuse weights that are no numbers; only the energies of free atoms may be unknown."""
    for name, tensor in tensors.items():
        if name != "atom_reference" and not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite values")
    if not (tensors["scale"] > 0).all():
        raise ValueError("scale: expected numbers above 0")


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a stranger's file brings about into a `CheckpointError`."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = one_line(error, 200) or type(error).__name__
        raise CheckpointError.of(path, f"{what}: {reason}") from error


def weights_digest(model: Predictor) -> str:
    """SHA-256 of a model's weights alone: what is told of it changes no geometry."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.cpu().numpy().tobytes())
    return digest.hexdigest()
