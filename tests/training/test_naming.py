"""No model of a user's is taken for a shipped one, nor lands outside its run's folder."""

import json
from pathlib import Path

import pytest

from molgeo.cli import main
from molgeo.predictor.checkpoint import catalogue, read_header
from molgeo.training.config import read_config
from molgeo.training.forces import ForceConfig
from molgeo.training.naming import check_free, data_name
from molgeo.training.qm9 import QM9Config
from molgeo.training.run import train

FIXTURES = Path(__file__).parents[1] / "fixtures" / "forces"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["ethanol.npz"], "ethanol"),
        (["/data/rMD17/aspirin.extxyz.gz"], "aspirin"),
        (["../a/b.c/my set (2).xyz"], "my_set_2"),
        (["train_300K.xyz", "isolated_atoms.xyz"], "train_300K+isolated_atoms"),
        (["a/x.npz", "b/x.npz"], "x"),
        (["水.db"], "水"),
        ([".npz"], "data"),
        (["..."], "data"),
        (["folder/"], "folder"),
        ([f"part{k}.npz" for k in range(40)], "part0+39"),
        (["x" * 300 + ".npz"], "x" * 50 + "+0"),
    ],
)
def test_data_are_named_by_their_files(files, expected):
    assert data_name(files) == expected
    assert ForceConfig(data_file=files).model_name == f"schnet-{expected}"


def test_a_run_on_files_is_not_one_on_qm9():
    config = ForceConfig(data_file=["ethanol.npz"])
    assert (config.set_name, config.model_name) == ("ethanol", "schnet-ethanol")
    assert ForceConfig(data_file=["a.npz"], data_name="salts").model_name == "schnet-salts"
    assert QM9Config().set_name == "qm9"
    assert QM9Config(geometry="mmff").model_name == "schnet-qm9-mmff"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "/etc/passwd",
        "..",
        ".",
        "a\\b",
        "C:x",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        ".hidden",
        "--model",
        " x",
        "x ",
        "x.",
        "x" * 101,
        "NUL",
        "com1.x",
        "\u202ex",
    ],
)
def test_a_name_stays_in_its_folder(name):
    with pytest.raises(ValueError, match=r"^name: ") as caught:
        QM9Config(name=name)
    assert str(caught.value).isprintable()
    if not name[0].isspace() and name[0] not in "-." and name not in ("NUL", "com1.x"):
        with pytest.raises(ValueError, match=r"^data_name: "):
            ForceConfig(data_name=name, data_file=["a.npz"])


@pytest.mark.parametrize("name", ["gap-only", "my model (2)", "Å_水", "a.b+c", "x" * 100])
def test_any_other_name(name):
    assert QM9Config(name=name).model_name == name


@pytest.fixture
def _mine_is_shipped(tmp_path, monkeypatch):
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in ("schnet-qm9", "schnet-ethanol"):
        (folder / f"{name}.safetensors").touch()
    monkeypatch.setattr(catalogue, "_shipped_folders", lambda: [folder])


@pytest.mark.usefixtures("_mine_is_shipped")
def test_a_shipped_name_is_not_taken_by_chance(tiny, tiny_run, tmp_path):
    message = "would export a second '{}', and --model {} would take the shipped one; choose"
    with pytest.raises(ValueError, match=message.format(*2 * ["schnet-qm9"])):
        train(tiny())
    files = [str(FIXTURES / "ethanol.npz")]
    with pytest.raises(ValueError, match=message.format(*2 * ["schnet-ethanol"])):
        train(ForceConfig(data_file=files, energy_unit="kcal/mol", **tiny_run))
    assert not (tmp_path / "run").exists(), "before anything is done"


@pytest.mark.usefixtures("_mine_is_shipped")
def test_a_shipped_name_that_is_chosen_is_remarked_on(capsys):
    check_free("schnet-qm9", chosen=True)
    assert "as the shipped 'schnet-qm9' is: load it by its path" in capsys.readouterr().err
    check_free("schnet-qm8", chosen=False)
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="would export a second 'SchNet-QM9'"):
        check_free("SchNet-QM9", chosen=False)


def test_the_header_names_the_data_that_were_trained_on(tiny_run, tmp_path):
    (tmp_path / "mine.npz").write_bytes((FIXTURES / "ethanol.npz").read_bytes())
    fields = {"data_file": [str(tmp_path / "mine.npz")], "energy_unit": "kcal/mol", "max_steps": 1}
    path = train(ForceConfig(**tiny_run | fields))
    assert path.name == "schnet-mine.safetensors"
    header = read_header(path)
    assert (header.name, header.data) == ("schnet-mine", "mine")
    assert "* **trained on**: mine, " in path.with_suffix(".md").read_text()


@pytest.fixture
def read(tmp_path):
    """Read a config from text and assignments."""

    def of(text, *words):
        (tmp_path / "run.yaml").write_text(text)
        return read_config(tmp_path / "run.yaml", words)

    return of


GFN2 = "data: forces\ndata_name: gfn2\nlevel_of_theory: GFN2-xTB\ndata_file: [data/part1.npz]\n"


def test_a_config_says_nothing_of_other_data(read, capsys):
    config = read(GFN2, "data_file=[mine.extxyz]", "seed=3")
    assert (config.set_name, config.level_of_theory, config.seed) == ("mine", "", 3)
    assert "data_name 'gfn2', level_of_theory 'GFN2-xTB' are left out" in capsys.readouterr().err
    named = read(GFN2, "data_file=mine.npz", "data_name=salts", "level_of_theory=PBE")
    assert (named.set_name, named.level_of_theory) == ("salts", "PBE")
    assert read(GFN2, "data_file=[/elsewhere/part1.npz]").set_name == "gfn2"
    assert read("data: forces\ndata_name: gfn2\n", "data_file=[mine.npz]").set_name == "gfn2"
    assert not capsys.readouterr().err


def test_a_config_of_qm9_says_nothing_of_own_files(read, capsys):
    text = "data: qm9\nname: schnet-qm9\nmodel: schnet\n"
    config = read(text, "data=forces", "data_file=[mine.npz]")
    assert config.model_name == "schnet-mine"
    assert "name 'schnet-qm9' is left out" in capsys.readouterr().err
    assert read(text, "data=forces", "data_file=[mine.npz]", "name=x").model_name == "x"
    assert read(text).model_name == "schnet-qm9"
    with pytest.raises(ValueError, match="'data_file': no such key"):
        read(text, "data_file=[mine.npz]")


@pytest.mark.parametrize("fields", [{"data_name": "QM9"}, {"data_file": ["there/qm9.extxyz"]}])
def test_files_are_not_named_as_qm9(fields):
    with pytest.raises(ValueError, match=r"data_name: '(qm9|QM9)' is another data set"):
        ForceConfig(**{"data_file": ["a.npz"], **fields})


@pytest.mark.parametrize("options", [[], ["--config", "CONFIG"]])
def test_a_run_on_own_files_is_neither_named_nor_described_as_qm9(
    tiny_run, tmp_path, monkeypatch, capsys, options
):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "schnet-qm9.safetensors").touch()
    monkeypatch.setattr(catalogue, "_shipped_folders", lambda: [shipped])
    config = Path(__file__).parents[2] / "configs" / "schnet_qm9.yaml"
    (tmp_path / "mine.npz").write_bytes((FIXTURES / "ethanol.npz").read_bytes())
    words = [str(config) if word == "CONFIG" else word for word in options]
    fields = {"energy_unit": "kcal/mol", "max_steps": 1, **tiny_run}
    fields["data_file"] = str(tmp_path / "mine.npz")
    words += [f"--{name}={json.dumps(value).strip(chr(34))}" for name, value in fields.items()]
    assert main(["train", *words]) == 2, "no kind of data is guessed"
    assert "data: " in capsys.readouterr().err
    assert main(["train", *words, "--data", "forces"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.name == "schnet-mine.safetensors"
    assert "* **trained on**: mine, " in path.with_suffix(".md").read_text()
    assert "qm9" not in path.with_suffix(".md").read_text().lower()


def test_the_command_takes_the_name_of_own_files(capsys, monkeypatch, tmp_path):
    runs = []
    monkeypatch.setattr("molgeo.training.run.train", lambda config, resume: runs.append(config))
    path = tmp_path / "run.yaml"
    path.write_text(GFN2)
    assert main(["train", "--config", str(path), "--data_file", "mine.npz"]) == 0
    assert (runs[0].model_name, runs[0].level_of_theory) == ("schnet-mine", "")
