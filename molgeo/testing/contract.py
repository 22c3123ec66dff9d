"""What `molgeo.models` promises of every model beside its physics."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from molgeo.graph import radius_graph
from molgeo.models import given_values
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.testing.case import MOLECULES, Case, atoms_of, collated, same


def config(case: Case) -> None:
    """The config is a frozen dataclass with defaults that survives JSON and refuses nonsense.

    A model and a predictor are built of it.
    """
    build: Any = case.cls
    build()
    case.predictor()
    own: Any = case.model().config
    assert hasattr(own, "__dataclass_fields__"), f"config: expected a dataclass, got {own!r}"
    _refused(dataclasses.FrozenInstanceError, "", setattr, own, "cutoff", 1.0)
    plain = json.loads(json.dumps(given_values(own)))
    _equal("config after JSON", build(**plain).config, own)
    _refused(TypeError, "cutof", lambda: build(cutof=5.0))
    _refused(ValueError, "cutoff", lambda: build(cutoff="far"))


def shapes(case: Case) -> None:
    """There are ``n_out`` numbers for a molecule and ``feature_dim`` for an atom."""
    z, pos, batch = (x.to(case.device) for x in collated([atoms_of(name) for name in MOLECULES]))
    for n_out in (3, None):
        model = case.model(n_out=n_out)
        found = model.atom_features(z, pos, radius_graph(pos, model.cutoff, batch))
        _equal(f"shape of features, n_out={n_out}", found.shape, (len(z), model.feature_dim))
        if n_out is None:
            _refused(RuntimeError, "n_out", model, z, pos)
        else:
            _equal("shape of outputs", model(z, pos, batch).shape, (len(MOLECULES), n_out))
            _equal("shape of no outputs", model(z[:0], pos[:0]).shape, (0, n_out))


def weights(case: Case) -> None:
    """A seed decides all weights, and the state, copies and pickles hold what outputs need."""
    states = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        values = case.cls(**case.fields).state_dict().values()
        states.append(torch.cat([value.flatten().double() for value in values]))
    assert torch.equal(states[0], states[1]), "weights: two models of the same seed differ"
    assert not torch.equal(states[0], states[2]), "weights: do not depend on the seed"
    z, pos = (x.to(case.device) for x in atoms_of("methanol"))
    model, other = case.model(), case.cls(**case.fields).double().eval().to(case.device)
    other.load_state_dict(model.state_dict())
    others = {"a second call": model, "a model of the same state": other}
    others |= {"a copy": copy.deepcopy(model), "a pickle": pickle.loads(pickle.dumps(model))}
    for what, each in others.items():
        same(f"outputs of {what}", each(z, pos), model(z, pos), case.exactly)


def precision(case: Case) -> None:
    """float32 gives what float64 gives, to its digits."""
    z, pos, batch = collated([atoms_of(name) for name in MOLECULES])
    for subject in case.subjects():
        double = subject(z, pos.float().double(), batch)
        subject.module.float()
        single = subject(z, pos.float(), batch).double()
        for k in range(double.shape[1]):
            same(f"float32 in {subject.name}", single[:, k], double[:, k], 1e-5)


def checkpoint(case: Case) -> None:
    """A checkpoint is loaded with the same config and the same outputs."""
    predictor = case.predictor().float()
    predictor.domain = Domain(elements=(1, 6, 8), max_atoms=12, min_distance=0.9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checked.safetensors"
        save_checkpoint(predictor, path, {"data": "none"})
        loaded = load(path).to(case.device)
    _equal("class of a checkpoint", type(loaded.backbone), case.cls)
    _equal("config of a checkpoint", loaded.backbone.config, predictor.backbone.config)
    z, pos = (x.to(case.device) for x in atoms_of("methanol"))
    for name, value in predictor(z, pos).items():
        same(f"{name} of a checkpoint", loaded(z, pos)[name], value, case.exactly)


CHECKS = (config, shapes, weights, precision, checkpoint)


def _equal(what: str, found: Any, expected: Any) -> None:
    assert found == expected, f"{what}: expected {expected}, got {found}"


def _refused(kind: type[Exception], words: str, call: Callable[..., Any], *args: Any) -> None:
    """Assert that a call ends in an error that names what is wrong."""
    found: object = "none"
    try:
        call(*args)
    except Exception as error:
        found = repr(error)
        if isinstance(error, kind) and words in str(error):
            return
    raise AssertionError(f"expected a {kind.__name__} about {words or 'it'}, got {found}")
