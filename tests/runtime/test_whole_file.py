"""Files that are there whole or not at all."""

import pytest

from molgeo.runtime.whole_file import is_same_file, replacing


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


def test_names_of_one_file(tmp_path):
    path, link = tmp_path / "a", tmp_path / "b"
    path.touch()
    link.symlink_to(path)
    assert is_same_file(path, str(link))
    assert is_same_file(path, tmp_path / "x" / ".." / "a") == (tmp_path / "x").exists()
    assert not is_same_file(path, "C" * 5000)
    assert not is_same_file(tmp_path / "c", tmp_path / "c")
