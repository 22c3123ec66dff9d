from molgeo.prediction.report.about import MOST_INPUTS, command_line
from molgeo.prediction.settings import OutputSettings, PredictSettings


def test_the_command_has_what_is_not_usual():
    settings = PredictSettings("my model", properties=["gap", "mu"], strict=True, conformers=3)
    output = OutputSettings("out.csv", report="a.html", resume=True, force=True)
    assert command_line(["CC(=O)O", "x.smi"], settings, output) == (
        "molgeo predict 'CC(=O)O' x.smi --model 'my model' --properties gap,mu --conformers 3 "
        "--strict --output out.csv --report a.html"
    )


def test_many_inputs_are_counted():
    text = command_line(["C"] * (MOST_INPUTS + 1234))
    assert text == "molgeo predict " + "C " * MOST_INPUTS + "… (1,234 more)"
