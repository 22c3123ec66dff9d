"""Exported programs give what the models give, for molecules of any size, and without molgeo."""

import inspect
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from force_fields import force_field
from neighbourhoods import arguments

import molgeo
from molgeo.graph import radius_graph
from molgeo.predictor import checkpoint
from molgeo.predictor.header import Facts
from molgeo.predictor.program import ABOUT, INPUTS, Program, description, export, program_of
from molgeo.runtime.errors import SettingError

SIZES = ((12,), (1,), (2, 1, 17, 5))
"""Atoms of the molecules of batches, none of them as those that a program is made with."""


def molecules(sizes):
    """Elements, positions, numbers of atoms of random molecules of H, C, N and O."""
    generator = np.random.default_rng(sum(sizes))
    grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3) * 1.3
    places = [grid[generator.permutation(27)[:n]] for n in sizes]
    pos = np.concatenate(places) + generator.normal(0, 0.1, (sum(sizes), 3))
    z = generator.choice([1, 6, 7, 8], sum(sizes))
    return torch.from_numpy(z), torch.from_numpy(pos), torch.tensor(sizes)


def test_a_folder_that_is_not_there_is_refused_before_the_work(tmp_path):
    with pytest.raises(SettingError, match=r"model\.pt2: there is no such folder"):
        export("no such model either", tmp_path / "nowhere" / "model.pt2")


def saved_and_loaded(program):
    content = io.BytesIO()
    torch.export.save(program, content)
    content.seek(0)
    return torch.export.load(content).module()


def tolerances(predictor, z, pos, graph):
    """1e-5 of what the network adds to the baseline, and of its unit, by the keys of outputs."""
    with torch.no_grad():
        largest = predictor.standardised(z, pos, graph).abs().amax(0).clamp(min=1.0)
    by_name = dict(zip(predictor.property_names, largest * predictor.scale, strict=True))
    return {
        key: 1e-5 * float(by_name[one.total.name if one.total else key])
        for key, one in predictor.outputs.items()
    }


@pytest.mark.parametrize("name", checkpoint.shipped())
def test_every_shipped_model_is_a_program(name):
    predictor = checkpoint.load(name)
    # An orbital may lie on one atom of these clusters: float32 itself is then too far from it.
    is_double = "orbital" in predictor.heads.kinds
    predictor.to(torch.float64 if is_double else torch.float32)
    program = saved_and_loaded(program_of(predictor))
    predictor.requires_grad_(False)
    for sizes in SIZES:
        z, pos, n_atoms = molecules(sizes)
        near = pos.to(next(predictor.parameters()).dtype)
        graph = radius_graph(near, predictor.cutoff, torch.repeat_interleave(n_atoms))
        charges = [torch.arange(len(n_atoms)) % 3 - 1] if predictor.backbone.takes_charge else []
        graph = graph.with_known(*charges)
        allowed = tolerances(predictor, z, near, graph)
        found = program(*arguments(z, pos, n_atoms, graph), *charges)
        if predictor.header.trained_on_forces:
            potential = predictor.potential(z, near, graph, strain=True)
            expected = {k: v for k, v in potential._asdict().items() if v is not None}
            allowed = {k: 1e-5 * float(v.abs().max()) for k, v in expected.items()}
            allowed["energy"] = tolerances(predictor, z, near, graph)[predictor.energy.name]
            allowed["energies"] = allowed["energy"]
        else:
            expected = predictor(z, near, graph=graph)
        assert set(found) == set(expected) == set(description(predictor)["outputs"])
        for key, value in expected.items():
            assert found[key].dtype == torch.float64
            error = (found[key] - value).abs().max()
            bound = allowed[key] * (1e-5 if is_double else 1.0)
            assert error <= bound, (sizes, key, float(error), bound)


def test_a_file_says_what_it_is_and_runs_without_molgeo(tmp_path):
    predictor, file = force_field(properties=("energy", "mu")), tmp_path / "model.pt2"
    export(predictor, file)
    assert molgeo.export is export
    told = {ABOUT: ""}
    torch.export.load(file, extra_files=told)
    about = json.loads(told[ABOUT])
    assert about == json.loads(json.dumps(description(predictor)))
    assert about["cutoff"] == predictor.cutoff
    assert about["elements"] == ["H", "C", "O"]
    *inputs, charge = [*inspect.signature(Program.forward).parameters][1:]
    assert [*about["inputs"]] == inputs
    assert charge == "charge", "of models that take it"

    z, pos, n_atoms = molecules((4, 9))
    near = pos.float()
    graph = radius_graph(near, predictor.cutoff, torch.repeat_interleave(n_atoms))
    torch.save(arguments(z, pos, n_atoms, graph), tmp_path / "arguments.pt")
    script = (
        "import sys, torch\n"
        "program = torch.export.load('model.pt2').module()\n"
        "torch.save(dict(program(*torch.load('arguments.pt'))), 'found.pt')\n"
        "assert not any(name.startswith('molgeo') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=300)
    found = torch.load(tmp_path / "found.pt")
    expected = predictor.potential(z, near, graph, strain=True)
    assert set(found) == set(about["outputs"])
    assert "dipole" in found
    for key, value in found.items():
        wanted = getattr(expected, key).double()
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_a_force_field_may_be_exported_for_its_properties():
    predictor = force_field(properties=("energy", "mu"))
    z, pos, n_atoms = molecules((3, 4))
    graph = radius_graph(pos.float(), predictor.cutoff, torch.repeat_interleave(n_atoms))
    found = program_of(predictor, forces=False).module()(*arguments(z, pos, n_atoms, graph))
    expected = predictor(z, pos.float(), graph=graph)
    assert set(found) == {"energy", "mu"}
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key])


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of PyTorch's own
def test_a_program_is_compiled_for_all_sizes(tmp_path):
    predictor = force_field("spectrum_net")
    program = program_of(predictor, forces=False)
    file = str(tmp_path / "compiled.pt2")
    torch._inductor.aoti_compile_and_package(program, package_path=file)
    compiled, plain = torch._inductor.aoti_load_package(file), program.module()
    for sizes in SIZES:
        z, pos, n_atoms = molecules(sizes)
        graph = radius_graph(pos.float(), predictor.cutoff, torch.repeat_interleave(n_atoms))
        given = arguments(z, pos, n_atoms, graph)
        found, expected = compiled(*given), plain(*given)
        assert set(found) == set(expected)
        for key, value in expected.items():
            largest = float(value.abs().max())
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5 * largest + 1e-6)


def test_what_cannot_be_exported_is_refused(tmp_path):
    predictor = force_field()
    predictor.header = Facts()
    with pytest.raises(SettingError, match="mean nothing"):
        program_of(predictor, forces=True)
    with pytest.raises(SettingError, match=r"ends in \.pt2, got model\.pt"):
        export(predictor, tmp_path / "model.pt")
    assert not [*tmp_path.iterdir()]
    assert [*INPUTS] == ["z", "pos", "n_atoms", "pairs", "offset"]
