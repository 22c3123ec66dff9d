"""Checkpoints: one safetensors file whose JSON header says what it is and can prove it.

The header holds the format version, the predictor's config, what it was trained on (data set,
split, seed, level of theory, geometry source), metrics, the domain record and a self-test: inputs
with the outputs they gave when the file was written. Loading is header → migrate → build → strict
``load_state_dict``. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from molgeo.domain import Domain
from molgeo.predictor import Predictor
from molgeo.properties import ATOMIZATION, column

FORMAT_VERSION: Final = 1
_KEY: Final = "molgeo"

MIGRATIONS: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""Format version → function that takes a header of that version to the next."""

DEFAULT_MODEL: Final = "schnet-qm9"
"""Shipped model that predicts properties where none is named."""


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message is one line and says why."""


def save_checkpoint(predictor: Predictor, path: str | Path, header: dict[str, Any]) -> None:
    """Write a predictor with its header and self-test, all or nothing.

    Args:
        predictor: with its `domain` set.
        path: ends in ``.safetensors``.
        header: what the file says of itself beside config and domain; plain JSON values.

    Raises:
        ValueError: the predictor has no domain.
    """
    if predictor.domain is None:
        raise ValueError("checkpoint: the predictor has no domain record, so it cannot be saved")
    predictor.eval()
    tensors = {name: t.detach().cpu().contiguous() for name, t in predictor.state_dict().items()}
    full = {
        **header,
        "format": FORMAT_VERSION,
        "config": predictor.config,
        "domain": predictor.domain.to_dict(),
        "self_test": _self_test(predictor),
        "sha256": _digest(tensors),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(save(tensors, metadata={_KEY: json.dumps(full)}))
    os.replace(part, path)


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
    if header["sha256"] != _digest(tensors):
        raise CheckpointError(f"{path}: the weights are not those that were written (checksum)")
    try:
        predictor = Predictor(**header["config"])
        predictor.load_state_dict(tensors, strict=True)
        predictor.domain = Domain.from_dict(header["domain"])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: header and weights do not fit together: {reason}"
        ) from error
    predictor.header = header
    predictor.name = path.stem
    predictor.eval()
    if verify:
        _run_self_test(predictor, header["self_test"], path)
    return predictor


def read_header(name: str | Path) -> dict[str, Any]:
    """The header of a shipped model or a checkpoint file, migrated to the present version."""
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

    Raises:
        CheckpointError: there is neither such a file nor such a model.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = shipped()
    if str(name) in known:
        return known[str(name)]
    raise CheckpointError(
        f"model: {str(name)!r} is neither a file nor a shipped model "
        f"({', '.join(known) or 'none is shipped'})"
    )


def _shipped_folders() -> list[Path]:
    """The wheel's copy, and the folder of a checkout."""
    installed = Path(str(resources.files("molgeo") / "_checkpoints"))
    checkout = Path(__file__).resolve().parents[1] / "checkpoints"
    return [folder for folder in (installed, checkout) if folder.is_dir()]


def _read(path: Path, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise CheckpointError(f"{path}: a safetensors file, but not a molgeo checkpoint")
            header = json.loads(metadata[_KEY])
            names = list(file.keys()) if weights else []
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole safetensors file, perhaps truncated or damaged ({error})"
        ) from error
    return _migrate(header, path), tensors


def _migrate(header: dict[str, Any], path: Path) -> dict[str, Any]:
    version = header.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {version} is unknown to this molgeo, which reads versions "
            f"1 to {FORMAT_VERSION}; a newer molgeo may read it"
        )
    while version < FORMAT_VERSION:
        header = MIGRATIONS[version](header)
        version += 1
    return header


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
    return {"z": z, "pos": pos.tolist(), "outputs": outputs}


def _outputs(predictor: Predictor, z: list[int], pos: list[list[float]]) -> dict[str, float]:
    device = predictor.scale.device
    with torch.no_grad():
        out = predictor(
            torch.tensor(z, device=device), torch.tensor(pos, dtype=torch.float32, device=device)
        )
    return {name: float(value) for name, value in out.items()}


def _run_self_test(predictor: Predictor, test: dict[str, Any], path: Path) -> None:
    outputs = _outputs(predictor, test["z"], test["pos"])
    scales = dict(zip(predictor.properties, predictor.scale.tolist(), strict=True))
    for name, expected in test["outputs"].items():
        tolerance = 1e-3 * scales[name.removesuffix(ATOMIZATION)]
        if not abs(outputs[name] - expected) <= tolerance:
            raise CheckpointError(
                f"{path}: self-test failed, {column(name)} should be {expected:.6g} "
                f"and is {outputs[name]:.6g}"
            )
