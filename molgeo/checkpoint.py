"""Checkpoints: one safetensors file whose JSON header says what it is and can prove it.

The header holds the format version, the predictor's config, what it was trained on (data set,
split, seed, level of theory, geometry source), metrics, the domain record and a self-test: inputs
with the outputs they gave when the file was written. Header and weights each have a SHA-256, so
that no flipped bit goes unseen. Loading is header → checksums → migrate → build → strict
``load_state_dict`` → self-test. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from molgeo.domain import Domain
from molgeo.precision import matmul_precision
from molgeo.predictor import Predictor
from molgeo.properties import ATOMIZATION, column
from molgeo.whole_file import replacing

FORMAT_VERSION: Final = 1
_KEY: Final = "molgeo"
_SEAL: Final = "header_sha256"

Header = dict[str, Any]
Weights = dict[str, Tensor]

MIGRATIONS: Final[dict[int, Callable[[Header, Weights], tuple[Header, Weights]]]] = {}
"""Format version → function that takes header and weights of that version to the next.

The weights are empty when only the header is read.
"""

DEFAULT_MODEL: Final = "spectrum_net-qm9"
"""Shipped model that predicts properties at given geometries where none is named."""

DEFAULT_SMILES_MODEL: Final = "schnet-qm9-cheap"
"""Shipped model that predicts them at MMFF94 geometries, which it was trained on."""


DEFAULT_FORCE_FIELD: Final = "dimenet_pp-gfn2"
"""Shipped model that moves atoms where none is named."""


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message is one line and says why."""


def save_checkpoint(predictor: Predictor, path: str | Path, header: Header) -> None:
    """Write a predictor with its header and self-test, all or nothing.

    Args:
        predictor: with its `domain` set and float32 weights.
        path: ends in ``.safetensors``.
        header: what the file says of itself beside config and domain; plain JSON values.

    Raises:
        ValueError: the path has another ending, the predictor has no domain or other than float32
            weights, or it gives NaN for its own self-test.
        OSError: the file cannot be written; an old one is left as it was.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"checkpoint: expected a path that ends in .safetensors, got {path}")
    if predictor.domain is None:
        raise ValueError("checkpoint: the predictor has no domain record, so it cannot be saved")
    other = {p.dtype for p in predictor.parameters()} - {torch.float32}
    if other:
        raise ValueError(f"checkpoint: expected float32 weights, got {other.pop()}")
    tensors = {name: t.detach().cpu().contiguous() for name, t in predictor.state_dict().items()}
    full = {
        **header,
        "format": FORMAT_VERSION,
        "config": predictor.config,
        "domain": predictor.domain.to_dict(),
        "self_test": _self_test(predictor),
        "sha256": _digest(tensors),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(save(tensors, metadata={_KEY: seal(full)}))


def seal(header: Header) -> str:
    """A header as JSON text that ends in the SHA-256 of the rest.

    One text, because safetensors writes several metadata keys in random order, and the same model
    should be the same file.
    """
    checksum = hashlib.sha256(json.dumps(header).encode()).hexdigest()
    return json.dumps({**header, _SEAL: checksum})


def load(name: str | Path | None = None, verify: bool = True) -> Predictor:
    """Load a shipped model or a checkpoint file, on the CPU, ready to predict.

    Args:
        name: name of a shipped model, a path, or None for the default model.
        verify: run the self-test, which costs a few milliseconds.

    Returns:
        The predictor, in evaluation mode.

    Raises:
        CheckpointError: no such model, or the file is truncated, altered, foreign, too new, or
            does not reproduce its own outputs.
    """
    path = find(name or DEFAULT_MODEL)
    header, tensors = _read(path)
    try:
        predictor = Predictor(**header["config"])
        predictor.load_state_dict(tensors, strict=True)
        predictor.domain = Domain.from_dict(header["domain"])
        predictor.header = header
        predictor.name = path.stem
        predictor.eval()
        if verify:
            _run_self_test(predictor, header["self_test"], path)
    except CheckpointError:
        raise
    except (LookupError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: header and weights do not fit together: {_one_line(error)}"
        ) from error
    return predictor


def read_header(name: str | Path) -> Header:
    """The header of a shipped model or a checkpoint file, migrated to the present version.

    Raises:
        CheckpointError: no such model, or its header is damaged, foreign or too new.
    """
    return _read(find(name), weights=False)[0]


def shipped() -> dict[str, Path]:
    """Shipped models: name → file."""
    found: dict[str, Path] = {}
    for folder in _shipped_folders():
        for path in sorted(folder.glob("*.safetensors")):
            found.setdefault(path.stem, path)
    return found


def find(name: str | Path) -> Path:
    """The file of a shipped model's name or of a path.

    A shipped name is always that model, whatever lies in the working folder: ``./NAME`` is a path.

    Raises:
        CheckpointError: there is neither such a file nor such a model.
    """
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise CheckpointError(f"model: {str(name)!r} is a folder, expected a .safetensors file")
    raise CheckpointError(
        f"model: {str(name)!r} is neither a file nor a shipped model "
        f"({', '.join(known) or 'none is shipped'})"
    )


def default_force_field() -> str:
    """Name of the model whose forces are used where none is named.

    Raises:
        CheckpointError: this molgeo is shipped without it.
    """
    if DEFAULT_FORCE_FIELD not in shipped():
        raise CheckpointError(
            f"model: the default force field {DEFAULT_FORCE_FIELD!r} is not shipped with this "
            "molgeo; name a model that was trained on forces"
        )
    return DEFAULT_FORCE_FIELD


def _shipped_folders() -> list[Path]:
    """The wheel's copy, and the folder of a checkout."""
    installed = Path(str(resources.files("molgeo") / "_checkpoints"))
    checkout = Path(__file__).resolve().parents[1] / "checkpoints"
    return [folder for folder in (installed, checkout) if folder.is_dir()]


def _read(path: Path, weights: bool = True) -> tuple[Header, Weights]:
    """Header and weights of a file, checked against their checksums and migrated."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise CheckpointError(f"{path}: a safetensors file, but not a molgeo checkpoint")
            text = metadata[_KEY]
            header = json.loads(text)
            names = list(file.keys()) if weights else []
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file, perhaps truncated or damaged "
            f"({_one_line(error)})"
        ) from error
    # A newer format may keep its checksums elsewhere, so its version is looked at first.
    version = _version(header, path)
    header.pop(_SEAL, None)
    if text != seal(header):
        raise CheckpointError(f"{path}: the header is not the one that was written (checksum)")
    if weights and header.get("sha256") != _digest(tensors):
        raise CheckpointError(f"{path}: the weights are not those that were written (checksum)")
    for old in range(version, FORMAT_VERSION):
        header, tensors = MIGRATIONS[old](header, tensors)
    return header, tensors


def _version(header: Any, path: Path) -> int:
    version = header.get("format") if isinstance(header, dict) else None
    if type(version) is not int or not (version in MIGRATIONS or version == FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: format version {version!r} is unknown to this molgeo, which reads versions "
            f"{min(MIGRATIONS, default=FORMAT_VERSION)} to {FORMAT_VERSION}; "
            "a newer molgeo may read it"
        )
    return version


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _self_test(predictor: Predictor) -> dict[str, Any]:
    """A small molecule of every element of the domain with the outputs it gives here."""
    assert predictor.domain is not None
    z = [n for n in predictor.domain.elements for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    # Atoms on a helix, 1.2 Å apart or more: no symmetry, no linear angle.
    angle = torch.arange(len(z), dtype=torch.float64) * 1.9
    pos = torch.stack([1.1 * angle.cos(), 1.1 * angle.sin(), 0.35 * angle], dim=-1)
    pos = pos + 0.05 * torch.rand(pos.shape, generator=generator, dtype=torch.float64)
    pos = (pos * 1e4).round() / 1e4
    outputs = _outputs(predictor, z, pos.tolist())
    nan = [name for name in predictor.properties if not math.isfinite(outputs[name])]
    if nan:
        raise ValueError(f"checkpoint: the predictor gives {outputs[nan[0]]} for {nan[0]}")
    # Only an atomization energy may be NaN: of an element whose free atom is unknown.
    known = {name: value for name, value in outputs.items() if math.isfinite(value)}
    return {"z": z, "pos": pos.tolist(), "outputs": known}


def _outputs(predictor: Predictor, z: list[int], pos: list[list[float]]) -> dict[str, float]:
    device = predictor.scale.device
    numbers = torch.tensor(z, device=device)
    positions = torch.tensor(pos, dtype=torch.float32, device=device)
    with _as_when_loaded(predictor), torch.no_grad():
        out = predictor(numbers, positions)
    return {name: float(value) for name, value in out.items()}


@contextmanager
def _as_when_loaded(predictor: Predictor) -> Iterator[None]:
    """Evaluation mode and full float32 products, whatever a training run has set."""
    training = predictor.training
    predictor.eval()
    try:
        with matmul_precision(), torch.autocast(predictor.scale.device.type, enabled=False):
            yield
    finally:
        predictor.train(training)


def _run_self_test(predictor: Predictor, test: dict[str, Any], path: Path) -> None:
    """Compare with the outputs at the time of writing, to 1e-3 of each property's scale."""
    outputs = _outputs(predictor, test["z"], test["pos"])
    scales = dict(zip(predictor.properties, predictor.scale.tolist(), strict=True))
    for name, expected in test["outputs"].items():
        tolerance = 1e-3 * scales[name.removesuffix(ATOMIZATION)]
        if not abs(outputs[name] - expected) <= tolerance:
            raise CheckpointError(
                f"{path}: self-test failed, {column(name)} should be {expected:.6g} "
                f"and is {outputs[name]:.6g}"
            )
