"""Nothing heavy is imported before it is needed."""

import subprocess
import sys

import pytest

HEAVY = {"rdkit", "ase", "lightning", "pytorch_lightning", "matplotlib", "pandas", "rich"}
HEAVY |= {"scipy", "sklearn"}

MOST_MODULES = {True: 85, False: 116}
"""That predicting a SMILES in Python imports, if fast or not; to be lowered with each
that goes. To relax conformers takes the optimiser, the potential and one more kind of model."""


def imported_by(code):
    """Top-level modules that an interpreter holds after running some code."""
    listing = f"import sys; {code}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.fixture(scope="module")
def core():
    return imported_by("import molgeo, molgeo.models, molgeo.predictor.checkpoint")


def test_the_core_needs_no_toolkit(core):
    assert {"molgeo", "torch", "safetensors"} <= core
    assert not core & HEAVY
    assert "torch_geometric" not in core


def test_training_needs_no_toolkit():
    """It runs on machines that have PyTorch and Lightning only."""
    without = "sys.modules.update(dict.fromkeys("
    without += "['rdkit', 'ase', 'jsonargparse', 'vesin', 'torch_geometric']))"
    imported_by(f"{without}; import molgeo.training.run")


def test_minimising_many_structures_needs_no_toolkit():
    without = "sys.modules.update(dict.fromkeys(['ase', 'rdkit', 'jsonargparse', 'vesin']))"
    imported_by(f"{without}; import molgeo.simulation.minimisation")


def test_molgeo_alone_imports_nothing():
    assert not imported_by("import molgeo") & (HEAVY | {"torch", "torch_geometric"})


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["relax", "--help"], ["predikt"]])
def test_the_command_line_answers_at_once(words):
    code = f"from molgeo.cli import main; main({words})"
    assert not imported_by(f"{code}") & (HEAVY | {"torch", "torch_geometric", "numpy"})


def test_attributes_come_when_asked_for():
    code = (
        "import molgeo; assert callable(molgeo.load); assert molgeo.models.names(); "
        "assert molgeo.Predictor; assert 'load' in dir(molgeo) and 'predict' in dir(molgeo)"
    )
    assert not imported_by(code) & HEAVY


def test_the_calculator_comes_when_asked_for():
    found = imported_by("import molgeo; assert molgeo.MolgeoCalculator")
    assert "ase" in found
    assert not found & {"rdkit", "lightning", "pandas", "rich"}


def test_predict_is_a_function_whichever_is_imported_first():
    imported_by("import molgeo; assert callable(molgeo.predict)")
    imported_by("import molgeo; import molgeo.prediction; assert callable(molgeo.predict)")
    imported_by("from molgeo import predict; import molgeo; assert callable(molgeo.predict)")


@pytest.mark.parametrize("fast", [True, False])
def test_predicting_a_smiles_imports_what_it_needs(fast):
    """Of molgeo's own modules, packages included; no model but those that are used, and no ASE."""
    code = (
        "import molgeo; "
        f"table = molgeo.predict('CC1CCCCC1O', properties='gap', conformers=1, fast={fast}); "
        "assert len(table) == 1; "
        "own = [name for name in sys.modules if name.split('.')[0] == 'molgeo']; "
        f"assert len(own) <= {MOST_MODULES[fast]}, (len(own), own); "
        f"assert 'molgeo.models.spectrum_net' not in own or not {fast}"
    )
    assert "ase" not in imported_by(code)


def test_unknown_attribute():
    import molgeo

    with pytest.raises(AttributeError, match="no attribute 'predictions'"):
        _ = molgeo.predictions


def test_public_names_of_the_contract():
    imported_by("from molgeo.datasets import QM9, MoleculeSet; import molgeo; molgeo.datasets.QM9")
    imported_by("from molgeo.datasets import QM9DataModule")
    imported_by("from molgeo.models import SchNet, DimeNet, DimeNetPlusPlus")
    imported_by("from molgeo import MolgeoCalculator")
    found = imported_by("import molgeo; assert callable(molgeo.testing.check_backbone)")
    assert not found & (HEAVY | {"pytest", "_pytest", "torch_geometric"})
