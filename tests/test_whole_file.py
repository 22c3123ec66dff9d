"""Files that are there whole or not at all."""

import pytest

from molgeo.whole_file import replacing


def test_the_new_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "file.txt"
    for text in ("old", "new"):
        with replacing(path) as part:
            part.write_text(text)
            assert part.parent == tmp_path
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_what_raises_leaves_the_old_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def interrupted():
        with replacing(path) as part:
            part.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
