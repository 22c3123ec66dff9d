"""Preparation: the same content from everywhere, or a clear refusal; never half a file."""

import errno
import hashlib
import os
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from molgeo.data.download import fetch
from molgeo.data.qm9 import sources as qm9_sources
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.labels import DECIMALS
from molgeo.data.qm9.properties import NAMES
from molgeo.data.qm9.sources import Mirror, check, fingerprint, normalised, prepare


def test_uncharacterized_molecules():
    """3,054 of them; the first as in QM9's own list."""
    numbers = qm9_sources.uncharacterized()
    assert len(numbers) == 3054
    assert numbers[:6].tolist() == [58, 61, 80, 185, 186, 245]
    assert (np.diff(numbers) > 0).all()
    assert len(np.setdiff1d(np.arange(1, 133_886), numbers)) == 130_831


def test_the_whole_content_is_pinned(whole_qm9):
    """From the prepared file: reading it back loses nothing."""
    raw = normalised(qm9_sources.read(whole_qm9 / "qm9.safetensors"))
    check(raw)
    assert fingerprint(raw).n_molecules == 130_831


class TestCheck:
    def test_a_missing_molecule(self, some_qm9, some_content):
        with pytest.raises(ValueError, match="expected 62 different molecules, got 61"):
            check(some_qm9, some_content._replace(n_molecules=62))

    def test_a_doubled_molecule(self, some_qm9, some_content):
        idx = some_qm9.idx.copy()
        idx[1] = idx[0]
        with pytest.raises(ValueError, match="got 60 of 61"):
            check(some_qm9._replace(idx=idx), some_content._replace(n_molecules=60))

    def test_a_missing_atom(self, some_qm9, some_content):
        with pytest.raises(ValueError, match="atoms"):
            check(some_qm9._replace(z=some_qm9.z[:-1], pos=some_qm9.pos[:-1]), some_content)

    @pytest.mark.parametrize("field", ["y", "pos"])
    def test_nan(self, some_qm9, some_content, field):
        values = getattr(some_qm9, field).copy()
        values[3, 1] = np.nan
        with pytest.raises(ValueError, match="not a number"):
            check(some_qm9._replace(**{field: values}), some_content)

    @pytest.mark.parametrize("name", [n for n in NAMES if n != "r2"])
    def test_one_wrong_digit(self, some_qm9, some_content, name):
        y = some_qm9.y.copy()
        y[7, NAMES.index(name)] += 10.0 ** -DECIMALS[name]
        with pytest.raises(ValueError, match="labels are not those published"):
            check(some_qm9._replace(y=y), some_content)

    def test_wrong_extent(self, some_qm9, some_content):
        y = some_qm9.y.copy()
        y[7, NAMES.index("r2")] += 2.0
        with pytest.raises(ValueError, match="r2 is not as published"):
            check(some_qm9._replace(y=y), some_content)

    def test_a_wrong_element(self, some_qm9, some_content):
        z = some_qm9.z.copy()
        z[0] = 7
        with pytest.raises(ValueError, match="labels are not those published"):
            check(some_qm9._replace(z=z), some_content)

    def test_wrong_geometries(self, some_qm9, some_content):
        with pytest.raises(ValueError, match="geometries"):
            check(some_qm9._replace(pos=some_qm9.pos * 1.1), some_content)

    def test_moved_molecules_are_the_same(self, some_qm9, some_content):
        check(some_qm9._replace(pos=some_qm9.pos[:, [1, 2, 0]] + 5.0), some_content)

    def test_the_order_of_a_source_does_not_matter(self, some_qm9, some_content):
        ends = some_qm9.n_atoms.cumsum()
        order = np.random.default_rng(0).permutation(len(ends))
        atoms = np.concatenate([np.arange(ends[m] - some_qm9.n_atoms[m], ends[m]) for m in order])
        shuffled = some_qm9._replace(
            idx=some_qm9.idx[order],
            n_atoms=some_qm9.n_atoms[order],
            z=some_qm9.z[atoms],
            pos=some_qm9.pos[atoms],
            y=some_qm9.y[order],
            smiles=[some_qm9.smiles[m] for m in order],
        )
        check(normalised(shuffled), some_content)
        np.testing.assert_array_equal(normalised(shuffled).pos, some_qm9.pos)


class TestPrepare:
    @pytest.fixture
    def archive(self, formats, some_qm9, tmp_path):
        return formats.write_xyz_archive(some_qm9, tmp_path / "dsgdb9nsd.xyz.tar.bz2")

    def test_from_a_file_and_again(self, archive, small_data, tmp_path, some_content):
        path = prepare(tmp_path / "qm9", archive, expected=some_content)
        assert path == tmp_path / "qm9" / "qm9.safetensors"
        expected, got = QM9(small_data / "qm9"), QM9(tmp_path / "qm9")
        for name in ("z", "pos", "ptr", "y", "idx"):
            a, b = getattr(got.molecules, name), getattr(expected.molecules, name)
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        archive.unlink()
        before = path.stat()
        assert prepare(tmp_path / "qm9", archive, expected=some_content) == path
        assert path.stat().st_mtime_ns == before.st_mtime_ns, "a second call does nothing"
        with pytest.raises(FileNotFoundError):
            prepare(tmp_path / "qm9", archive, force=True, expected=some_content)
        assert path.exists(), "a failed one leaves what there was"

    def test_the_fixture_is_not_all_of_qm9(self, archive, tmp_path):
        with pytest.raises(ValueError, match="expected 130831 different molecules, got 61"):
            prepare(tmp_path / "qm9", archive)
        assert not list((tmp_path).rglob("*.safetensors*"))

    def test_a_damaged_file_is_prepared_anew(self, archive, tmp_path, some_content):
        path = prepare(tmp_path / "qm9", archive, expected=some_content)
        path.write_bytes(path.read_bytes()[:1000])
        prepare(tmp_path / "qm9", archive, expected=some_content)
        assert len(QM9(tmp_path / "qm9")) == 61

    def test_interrupted_while_writing(self, archive, tmp_path, some_content, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("molgeo.runtime.whole_file.os.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path / "qm9", archive, expected=some_content)
        assert list((tmp_path / "qm9").iterdir()) == []

    def test_disk_full(self, archive, tmp_path, some_content):
        """/dev/full answers every write with ENOSPC."""
        folder = tmp_path / "qm9"
        folder.mkdir()
        (folder / f"qm9.safetensors.{os.getpid()}.part").symlink_to("/dev/full")
        with pytest.raises(OSError, match=r"disk full: .*--data-dir") as error:
            prepare(folder, archive, expected=some_content)
        assert error.value.errno == errno.ENOSPC
        assert list(folder.iterdir()) == []

    def test_auto_takes_the_package_where_installed(self, tmp_path, monkeypatch, some_qm9):
        monkeypatch.setattr(qm9_sources, "from_qm9pack", lambda: some_qm9)
        prepare(tmp_path / "qm9", expected=fingerprint(some_qm9))
        assert len(QM9(tmp_path / "qm9")) == 61

    def test_auto_downloads_where_not(self, tmp_path, monkeypatch):
        monkeypatch.setattr(qm9_sources.importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(qm9_sources, "MIRRORS", ())
        with pytest.raises(OSError, match="could not be downloaded"):
            prepare(tmp_path / "qm9")


class Handler(BaseHTTPRequestHandler):
    """Serves ``content`` with ranges; breaks off after ``limit`` bytes while that is not None."""

    def __init__(self, server_state, *args):
        self.state = server_state
        super().__init__(*args)

    def do_GET(self):
        content = self.state["content"]
        self.state["ranges"].append(self.headers.get("Range"))
        start = 0
        if (asked := self.headers.get("Range")) and self.state["resumable"]:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else self.state["status"])
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.state["limit"]])

    def log_message(self, *args):
        pass


@pytest.fixture
def served():
    """A server's changeable state, with its address under ``url``."""
    state = {"content": b"", "limit": None, "ranges": [], "resumable": True, "status": 200}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, state))
    state["url"] = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


class TestFetch:
    CONTENT = bytes(range(256)) * 40

    @pytest.mark.parametrize("resumable", [True, False])
    def test_goes_on_where_it_broke_off(self, served, tmp_path, resumable):
        served.update(content=self.CONTENT, limit=3000, resumable=resumable)
        with pytest.raises(OSError, match="broken off after 3000 of 10240"):
            fetch(served["url"], tmp_path / "file")
        assert not (tmp_path / "file").exists()
        served["limit"] = None
        calls = []
        md5 = hashlib.md5(self.CONTENT).hexdigest()
        fetch(served["url"], tmp_path / "file", md5, lambda *call: calls.append(call))
        assert (tmp_path / "file").read_bytes() == self.CONTENT
        assert served["ranges"] == [None, "bytes=3000-"]
        assert calls[-1] == (10240, 10240)
        fetch(served["url"], tmp_path / "file")
        assert len(served["ranges"]) == 2, "what is there is not asked for"
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_wrong_checksum(self, served, tmp_path):
        served["content"] = self.CONTENT
        with pytest.raises(OSError, match="expected MD5 0000, got"):
            fetch(served["url"], tmp_path / "file", "0000")
        assert list(tmp_path.iterdir()) == []

    def test_a_part_that_is_whole_already(self, served, tmp_path):
        served["content"] = self.CONTENT
        (tmp_path / "file.part").write_bytes(self.CONTENT)
        fetch(served["url"], tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == self.CONTENT

    @pytest.mark.parametrize("status", [202, 404])
    def test_a_server_that_refuses(self, served, tmp_path, status):
        served.update(content=b"come back later", status=status)
        with pytest.raises(OSError, match=str(status)):
            fetch(served["url"], tmp_path / "file")
        assert not (tmp_path / "file").exists()


class TestDownload:
    NOWHERE = "http://127.0.0.1:9/nothing"

    def test_the_next_mirror_where_one_fails(
        self, served, formats, some_qm9, some_content, tmp_path, monkeypatch
    ):
        good = formats.write_xyz_archive(some_qm9, tmp_path / "good.xyz.tar.bz2")
        served["content"] = good.read_bytes()
        mirrors = (
            Mirror(self.NOWHERE, "gdb9.tar.gz"),
            Mirror(served["url"], "other.zip"),  # not a zip file
            Mirror(served["url"], "dsgdb9nsd.xyz.tar.bz2"),
        )
        monkeypatch.setattr(qm9_sources, "MIRRORS", mirrors)
        prepare(tmp_path / "qm9", "download", expected=some_content)
        assert len(QM9(tmp_path / "qm9")) == 61
        kept = [p.name for p in (tmp_path / "qm9" / "download").iterdir()]
        assert kept == ["dsgdb9nsd.xyz.tar.bz2"], "a file that is not QM9 is thrown away"

    def test_offline_names_the_alternatives(self, tmp_path, monkeypatch):
        monkeypatch.setattr(qm9_sources, "MIRRORS", (Mirror(self.NOWHERE, "gdb9.tar.gz"),))
        with pytest.raises(OSError) as error:
            prepare(tmp_path / "qm9", "download")
        message = str(error.value)
        assert "\n" not in message
        for part in ("pip install qm9pack", "--source dsgdb9nsd.xyz.tar.bz2", self.NOWHERE):
            assert part in message
        assert not list(tmp_path.rglob("*.safetensors"))
