"""A map over processes: in order, and whatever dies."""

import os
import signal
import subprocess
import sys
import time

import pytest

from molgeo.generate.workers import Failure, map_in_processes


def careful(x):
    if x == "bad":
        raise ValueError("no\nway")
    if x == "crash":
        os._exit(1)
    if x == "empty":
        raise KeyError
    return 2 * x


def test_in_this_process():
    got = list(map_in_processes(careful, [1, "bad", 3, "empty"], workers=1))
    assert got == [2, Failure("ValueError: no way"), 6, Failure("KeyError")]


def test_items_are_taken_as_needed():
    def source():
        yield 1
        raise RuntimeError("the source broke")

    results = map_in_processes(careful, source(), workers=1)
    assert next(results) == 2
    with pytest.raises(RuntimeError, match="the source broke"):
        next(results)


def test_a_process_that_dies_takes_no_other_item_with_it():
    items = [1, 2, "crash", 3, "bad", *range(10, 20)]
    got = list(map_in_processes(careful, items, workers=2))
    assert [type(x) is Failure for x in got] == [x in ("crash", "bad") for x in items]
    assert "process died" in got[2].reason
    assert got[5:] == [2 * x for x in range(10, 20)]


CHILD = """
import os
import time
from molgeo.generate.workers import map_in_processes


def slow(x):
    print(os.getpid(), flush=True)
    time.sleep(300 if x else 0)


if __name__ == "__main__":
    list(map_in_processes(slow, [0, 1, 2], workers=2))
"""


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL there")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    words = [sys.executable, str(tmp_path / "child.py")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        workers = {int(child.stdout.readline()) for _ in range(3)}
        child.kill()
        child.stdout.close()  # which the workers have open too
    deadline = time.monotonic() + 60
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))
