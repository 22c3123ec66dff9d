import json
import re
import xml.etree.ElementTree as ET

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import molecule

from molgeo.runtime.errors import InputError
from molgeo.simulation.report.page import MOST_FRAMES, cell_edges, some_frames, write_page, xyz
from molgeo.simulation.report.plots import plots
from molgeo.simulation.report.summary import Summary


def frames(n=5, periodic=False):
    found = []
    for k in range(n):
        atoms = molecule("H2O")
        atoms.positions += [100.0 * k, 0.0, 0.0]
        if periodic:
            atoms.set_cell([5.0, 6.0, 7.0])
            atoms.pbc = True
        found.append(atoms)
    return found


def summary(n=5, **more):
    time = np.arange(n) * 5.0
    columns = {name: np.sin(time) for name in ("potential_eV", "total_eV", "conserved_eV")}
    table = pd.DataFrame({"time_fs": time, "temperature_K": 300.0 + time, **columns, **more})
    return Summary(table, 3)


def page_of(tmp_path, n=5, periodic=False, title="water", **options):
    trajectory = tmp_path / "traj.extxyz"
    ase.io.write(trajectory, frames(n, periodic), format="extxyz")
    path = tmp_path / "page.html"
    write_page(path, title, [("model", "mine & <yours>")], summary(n), trajectory, **options)
    return path.read_text()


def test_a_page_needs_nothing_but_itself(tmp_path):
    text = page_of(tmp_path, target_K=300.0)
    assert text.startswith("<!doctype html>")
    assert "3dmol v2" in text or "$3Dmol" in text
    assert "University of Pittsburgh" in text  # the viewer's licence goes with it
    own = re.sub(r"<script>.*?</script>|<!--.*?-->", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", own)
    assert text.count("<svg") == 3
    assert "simulated" in text


def test_what_users_name_is_text(tmp_path):
    text = page_of(tmp_path, title="C<b>&O", reason="<i>hot</i>")
    assert "C&lt;b&gt;&amp;O" in text
    assert "mine &amp; &lt;yours&gt;" in text
    assert "&lt;i&gt;hot&lt;/i&gt;" in text
    assert "Stopped:" not in page_of(tmp_path)


def test_long_runs_are_thinned(tmp_path):
    n = 3 * MOST_FRAMES + 1
    text = page_of(tmp_path, n)
    times = json.loads(re.search(r"""id="motion">(.*?)</script>""", text)[1])["times"]
    shown = len(times)
    assert f'max="{shown - 1}"' in text
    assert text.count("\nH ") == 2 * shown
    assert times[:3] == [0.0, 0.02, 0.04]  # every fourth of rows 5 fs apart
    assert MOST_FRAMES / 2 < shown <= MOST_FRAMES
    assert len(text) < 1_500_000


def test_frames_are_centred_or_wrapped(tmp_path):
    path = tmp_path / "a.extxyz"
    for periodic in (False, True):
        ase.io.write(path, frames(3, periodic), format="extxyz")
        for frame in some_frames(path, 3):
            if periodic:
                assert (frame.get_scaled_positions(wrap=False) < 1).all()
            else:
                np.testing.assert_allclose(frame.get_center_of_mass(), 0.0, atol=1e-6)


def test_xyz():
    text = xyz([Atoms("He", [[0.12345, -1, 2]])] * 2)
    assert text == "1\n\nHe 0.123 -1.000 2.000\n" * 2


def test_edges_of_a_cell():
    edges = np.array(cell_edges(frames(1, periodic=True)[0]))
    assert edges.shape == (12, 2, 3)
    lengths = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)
    np.testing.assert_allclose(np.sort(lengths), np.repeat([5.0, 6.0, 7.0], 4))
    assert len({tuple(map(tuple, edge)) for edge in edges}) == 12
    assert cell_edges(frames(1)[0]) == []


def test_plots_are_svg_with_what_there_is():
    everything = dict.fromkeys(("volume_A3", "pressure_bar", "max_force_std_eV_A"), 1.0)
    found = plots(summary(50, **everything), 300.0)
    assert [title for title, _ in found] == [
        "Energy",
        "Temperature",
        "Drift of the conserved energy",
        "Volume",
        "Pressure",
        "Expected error of forces",
    ]
    for _, svg in found:
        assert ET.fromstring(svg).tag.endswith("svg")
    assert len(plots(summary(50, conserved_eV=np.nan), None)) == 2
    assert found == plots(summary(50, **everything), 300.0)  # the same file of the same run


def test_long_tables_make_no_heavy_plots():
    short, long = (len(plots(summary(n), None)[0][1]) for n in (2000, 200_000))
    assert long < 1.5 * short


@pytest.mark.parametrize("text", ["", "nonsense\n"])
def test_an_empty_trajectory(tmp_path, text):
    path = tmp_path / "a.extxyz"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.extxyz: (cannot be read|expected frames)"):
        some_frames(path, 3)


def test_a_page_that_cannot_be_written(tmp_path):
    trajectory = tmp_path / "traj.extxyz"
    ase.io.write(trajectory, frames(), format="extxyz")
    with pytest.raises(InputError, match="cannot be written"):
        write_page(tmp_path / "no" / "a.html", "x", [], summary(), trajectory)
