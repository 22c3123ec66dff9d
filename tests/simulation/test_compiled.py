"""A compiled model gives what the evaluation gives, for all molecules and in all that moves."""

import shutil

import numpy as np
import pytest
import torch
from ase.build import molecule
from force_fields import crystal, force_field, told

from molgeo.cli import program as cli
from molgeo.graph import radius_graph
from molgeo.predictor.potential import unlike
from molgeo.runtime.errors import InputError, SettingError
from molgeo.simulation import compiled, replay
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.molecular_dynamics import simulate
from molgeo.simulation.relaxation import relax_all
from molgeo.simulation.replay import Replayed
from molgeo.simulation.settings import MDSettings

needs_compiler = pytest.mark.skipif(
    compiled.missing(torch.device("cpu")) is not None, reason="there is no C++ compiler"
)
SHORT = MDSettings(steps=20, interval=5)


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """Libraries are kept for this module's tests alone."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLGEO_DATA", str(folder))
        yield folder


@pytest.fixture
def made(monkeypatch):
    """Strains of the libraries that are compiled meanwhile."""
    seen, make = [], compiled._make
    monkeypatch.setattr(
        compiled,
        "_make",
        lambda model, strain, file: (seen.append(strain), make(model, strain, file)),
    )
    return seen


@pytest.fixture
def broken(monkeypatch):
    """A compiler that fails, at once."""

    def make(*_):
        raise RuntimeError("the compiler\nfails")

    monkeypatch.setattr(compiled, "_make", make)


@pytest.fixture(scope="module")
def model():
    """It takes charges, and tells errors and dipoles."""
    own = force_field("spectrum_net", ("energy", "mu"), charges=True, n_blocks=1)
    own.expected_errors = told().expected_errors
    return own.requires_grad_(False)


def batch(*all_atoms, charge=None):
    pos = torch.tensor(np.concatenate([a.positions for a in all_atoms]), dtype=torch.float32)
    sizes = torch.tensor([len(a) for a in all_atoms])
    lattice = (torch.tensor(all_atoms[0].cell.array)[None], torch.tensor(all_atoms[0].pbc)[None])
    number = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    graph = radius_graph(pos, 4.5, number, *(lattice if all_atoms[0].pbc.any() else ()))
    charge = None if charge is None else torch.tensor(charge)
    z = torch.tensor(np.concatenate([a.numbers for a in all_atoms]))
    return z, pos, graph.with_known(charge)


@needs_compiler
def test_a_compiled_model_is_the_model_for_all_atoms(model, made):
    own = Replayed(model, "compiled")
    ethanol, water, methane = (molecule(name) for name in ("CH3CH2OH", "H2O", "CH4"))
    apart = molecule("H2")
    apart.positions[1, 2] += 20.0  # no pair at all
    for given in (
        batch(ethanol, charge=[0]),
        batch(water, charge=[1]),
        batch(methane, ethanol, water, charge=[0, -1, 1]),
        batch(apart),
        batch(molecule("C6H6"), charge=[-1]),
    ):
        found, expected = own.potential(*given), model.potential(*given)
        assert {k for k, v in found._asdict().items() if v is None} == {"strain_gradient"}
        for name, value in expected._asdict().items():
            if value is not None:
                other = getattr(found, name)
                assert not other.requires_grad
                torch.testing.assert_close(other.to(value), value, rtol=1e-5, atol=2e-5)
    assert made == [False]

    periodic = batch(crystal())
    found = own.potential(*periodic, strain=True)
    expected = model.potential(*periodic, strain=True)
    assert unlike(found, expected) is None
    torch.testing.assert_close(
        found.strain_gradient.to(expected.strain_gradient),
        expected.strain_gradient,
        rtol=1e-4,
        atol=1e-4,
    )
    assert made == [False, True]

    Replayed(model, "compiled").potential(*batch(ethanol))
    assert made == [False, True], "a library that is there is taken"


@needs_compiler
def test_what_moves_atoms_takes_it(model, made, tmp_path):
    def atoms(kind, name="CH3CH2OH"):
        own = molecule(name)
        own.rattle(0.05, seed=1)
        own.calc = MolgeoCalculator(model, "cpu", replay=kind)
        return own

    tables = {}
    for kind in ("compiled", False):
        files = tmp_path / f"{kind}.extxyz", tmp_path / f"{kind}.csv"
        simulate(atoms(kind), SHORT, *files)
        tables[kind] = np.genfromtxt(files[1], delimiter=",", names=True)
    np.testing.assert_allclose(
        tables["compiled"]["potential_eV"], tables[False]["potential_eV"], atol=1e-4
    )
    ours, theirs = (
        relax_all([atoms(k), atoms(k, "H2O")], atoms(k).calc, fmax=0.5) for k in ("compiled", False)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.atoms.positions, other.atoms.positions, atol=1e-3)
    assert made == [], "the first test's library serves all, batches too"


@needs_compiler
def test_a_damaged_library_is_made_anew(model, monkeypatch):
    z, pos, graph = batch(molecule("H2O"), charge=[0])
    file, made = compiled.library_file(model, False), []
    whole = file.read_bytes()

    def make(model, strain, file):
        made.append(file)
        file.write_bytes(whole)

    monkeypatch.setattr(compiled, "_make", make)
    file.write_bytes(whole[:1000])
    own = compiled.Compiled(model, z, pos, graph, False)
    assert made == [file]
    expected = model.potential(z, pos, graph)
    assert unlike(own(z, pos, graph), expected) is None

    # And one that computes something else.
    load = compiled._load
    doubled = {"energy": 2.0}

    def other(file):
        library = load(file)
        factors, doubled_now = doubled.copy(), doubled.clear()
        assert doubled_now is None
        return lambda *given: {k: v * factors.get(k, 1.0) for k, v in library(*given).items()}

    monkeypatch.setattr(compiled, "_load", other)
    own = compiled.Compiled(model, z, pos, graph, False)
    assert made == [file, file]
    assert unlike(own(z, pos, graph), expected) is None


def test_other_weights_and_machines_are_other_libraries(model, monkeypatch):
    file = compiled.library_file(model, False)
    assert file == compiled.library_file(force_field_again(model), False)
    assert file != compiled.library_file(model, True)
    assert file != compiled.library_file(force_field("spectrum_net", charges=True, seed=3), False)
    assert file != compiled.library_file(force_field_again(model).double(), False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_code", lambda: "edited")
        assert file != compiled.library_file(model, False)
    monkeypatch.setattr(compiled, "_features", lambda: {"avx9": True})
    assert file != compiled.library_file(model, False)


def force_field_again(model):
    own = force_field("spectrum_net", ("energy", "mu"), charges=True, n_blocks=1)
    own.expected_errors = model.expected_errors
    return own


def test_large_structures_are_evaluated(model, broken, monkeypatch):
    monkeypatch.setattr(replay, "SERIAL_EDGES", 5)
    own, given = Replayed(model, "compiled"), batch(molecule("H2O"), charge=[0])
    assert torch.equal(own.potential(*given).forces, model.potential(*given).forces)


def test_what_cannot_be_compiled_is_told_and_evaluated(model, broken):
    own, given = Replayed(model, "compiled"), batch(molecule("H2O"), charge=[0])
    words = r"replay='compiled': .* cannot be compiled here \(the compiler fails\)"
    if compiled.library_file(model, False).exists():
        compiled.library_file(model, False).unlink()
    with pytest.warns(RuntimeWarning, match=words):
        found = own.potential(*given)
    assert torch.equal(found.forces, own.potential(*given).forces), "and told once"
    assert torch.equal(found.forces, model.potential(*given).forces)


def test_without_a_compiler_it_is_refused(model, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    words = "a C\\+\\+ compiler is needed, and there is no no-such-compiler"
    with pytest.raises(SettingError, match=words):
        MolgeoCalculator(model, "cpu", replay="compiled")
    calc = MolgeoCalculator(model, "cpu")
    with pytest.raises(SettingError, match=words):
        calc.set(replay="compiled")
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingError, match="apt install g"):
        MolgeoCalculator(model, "cpu", replay="compiled")
    assert "CPU" in compiled.missing(torch.device("cuda"))


@pytest.mark.filterwarnings("ignore:.*cannot be compiled:RuntimeWarning")
def test_a_run_stays_what_it_is(model, broken, monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "missing", lambda device: None)
    monkeypatch.setattr(replay, "missing", lambda device: None)
    files = tmp_path / "traj.extxyz", tmp_path / "md.csv"

    def go(kind, **more):
        atoms = molecule("H2O")
        atoms.calc = MolgeoCalculator(model, "cpu", replay=kind)
        simulate(atoms, SHORT, *files, **more)

    go("compiled")
    with pytest.raises(InputError, match=r"model was compiled.* within a run: give --compile"):
        go("auto", resume=True)
    go("auto", overwrite=True)
    with pytest.raises(InputError, match=r"was not compiled.*: leave out --compile"):
        go("compiled", resume=True)


@pytest.mark.parametrize("command", ["relax", "md", "vib"])
def test_commands_say_what_takes_so_long(broken, monkeypatch, capsys, tmp_path, command):
    monkeypatch.setattr(replay, "missing", lambda device: None)
    monkeypatch.chdir(tmp_path)
    words = [command, "O", "--compile", "--model", "spectrum_net-aimnet2-small"]
    with pytest.warns(RuntimeWarning, match=r"compiled here \(the compiler fails\); each step is"):
        assert cli.main([*words, *(["--steps", "5"] if command == "md" else [])]) == 0
    said = capsys.readouterr().err
    assert said.count("compiling spectrum_net-aimnet2-small: half a minute") == 1
