import xml.etree.ElementTree as ET

from molgeo.pages.figures import BLUE, svg


def test_a_figure_takes_the_colour_of_the_text():
    def draw(axes):
        axes.plot([0, 1], [0, 1], color=BLUE)
        axes.set(xlabel="gap / eV")

    text = svg(draw)
    assert ET.fromstring(text).tag.endswith("svg")
    assert "gap / eV" in text
    assert "currentColor" in text
    assert BLUE.lower() in text.lower()
    assert text == svg(draw)
