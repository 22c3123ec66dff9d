"""What `molgeo.models` promises of every model beside its physics."""

import copy
import dataclasses
import json
import pickle

import pytest
import torch

from molgeo import models
from molgeo.graph import radius_graph
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain


def test_is_importable_by_its_class_name(name):
    cls = models.model_class(name)
    assert getattr(models, cls.__name__) is cls
    assert cls.__module__ == f"molgeo.models.{name}"


def test_paper_defaults_give_one_number_a_molecule(name, atoms_of):
    model = models.model_class(name)()
    z, pos = atoms_of("H2O")
    assert model(z, pos.float()).shape == (1, 1)


def test_config_is_frozen_and_survives_json(name):
    config = models.model_class(name)().config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.cutoff = 1.0
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    assert models.build(name, fields).config == config


def test_an_unknown_field_names_the_nearest(name):
    with pytest.raises(TypeError, match=r"unknown field 'cutof', did you mean 'cutoff'\?"):
        models.build(name, {"cutof": 5.0})


def test_a_value_of_the_wrong_type_is_refused(name):
    with pytest.raises(ValueError, match="cutoff: expected float, got 'far'"):
        models.build(name, {"cutoff": "far"})


def test_shapes(build, name, collate, mixture):
    z, pos, batch = collate(mixture)
    model = build(name, n_out=3).double()
    assert model(z, pos, batch).shape == (len(mixture), 3)
    features = model.atom_features(z, pos, radius_graph(pos, model.cutoff, batch))
    assert features.shape == (len(z), model.feature_dim)


def test_without_a_readout_it_is_a_backbone(build, name, atoms_of):
    z, pos = atoms_of("H2O")
    model = build(name, n_out=None).double()
    graph = radius_graph(pos, model.cutoff)
    assert model.atom_features(z, pos, graph).shape == (3, model.feature_dim)
    with pytest.raises(RuntimeError, match="n_out"):
        model(z, pos)


def test_no_atoms_give_no_molecules(subject):
    z, pos = torch.zeros(0, dtype=torch.long), torch.zeros(0, 3, dtype=torch.float64)
    assert subject(z, pos).shape == (0, len(subject.kinds))


def test_is_deterministic(subject, collate, mixture):
    inputs = collate(mixture)
    assert torch.equal(subject(*inputs), subject(*inputs))


def test_a_seed_decides_the_weights(build, name):
    fields = dataclasses.asdict(build(name).config)
    states = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        states.append(torch.cat([p.flatten() for p in models.build(name, fields).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_state_is_strict(build, name, atoms_of):
    z, pos = atoms_of("CH3CH2OH")
    model, other = build(name).double(), models.build(name, dataclasses.asdict(build(name).config))
    state = model.state_dict()
    other.double().load_state_dict(state)
    assert torch.equal(model(z, pos), other(z, pos))
    state.pop(next(iter(state)))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(state)


def test_survives_copies_and_other_processes(model, atoms_of):
    z, pos = atoms_of("CH3CH2OH")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(z, pos), model(z, pos))


def test_single_precision_agrees_with_double(subject, collate, mixture):
    z, pos, batch = collate(mixture)
    pos = pos.float()
    double = subject(z, pos.double(), batch)
    single = subject.module.float()(z, pos, batch)
    single = torch.stack(list(single.values()), -1) if isinstance(single, dict) else single
    scale = double.abs().max(0).values
    assert ((single - double).abs() < 1e-5 * scale).all()


def test_checkpoint_round_trip(build_with_heads, name, tmp_path, collate, mixture):
    predictor = build_with_heads(name)
    predictor.domain = Domain(elements=(1, 6, 8), max_atoms=12, min_distance=0.9)
    save_checkpoint(predictor, tmp_path / "a.safetensors", {"data": "none"})
    loaded = load(tmp_path / "a.safetensors")
    z, pos, batch = collate(mixture)
    with torch.no_grad():
        old, new = (p(z, pos.float(), batch) for p in (predictor, loaded))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key], new[key]) for key in old)
    assert loaded.backbone.config == predictor.backbone.config


def test_a_graph_of_other_atoms_is_refused(subject, collate, mixture):
    z, pos, batch = collate(mixture)
    few = radius_graph(pos[:5], 4.0)
    with pytest.raises(ValueError, match=f"graph: expected one of {len(z)} atoms, got 5"):
        subject.module(z, pos, batch, few)
    with pytest.raises(ValueError, match="graph: expected one of the same batch"):
        subject.module(z, pos, batch, radius_graph(pos, 4.0))


def test_forces_with_a_graph_inside_inference_mode(predictor, atoms_of):
    z, pos = atoms_of("CH3CH2OH")
    expected = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    with torch.inference_mode():
        graph = radius_graph(pos, predictor.cutoff)
        found = predictor.energy_and_forces(z, pos, allow_untrained_forces=True, graph=graph)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)
