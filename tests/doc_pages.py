"""The code blocks of README and docs, and how they are run."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from molgeo.cli import main

ROOT = Path(__file__).parents[1]

PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "data/README.md")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"```(?P<kind>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

RUN = ("python", "console")
"""Kinds of blocks that are run."""

SHOWN = ("text", "yaml", "toml", "csv", "cff")
"""Kinds that are only shown, or written to a file if they have a title."""

SMALLER = {
    "train": (
        "--max_steps 3 --batch_size 4 --limit_validation 4 --threads 1 --accelerator cpu"
        " --matmul_precision highest"
    ),
    "evaluate": "--limit 4",
    "fit": (
        "--members 1 --folds 2 --conformers 1 --epochs 1 --pooling mean --threads 1 --device cpu"
    ),
    "data sample": "--steps 2 --workers 1 --dimers 0",
    "data label": "--workers 1",
}
"""Options that are added to a command, so that it is over in seconds; the last of two counts."""


class Block(NamedTuple):
    """A code block.

    Attributes:
        kind: the language.
        title: name of the file that the block is; empty if it is none.
        text: what stands in it.
        why: the reason why it is not run; empty if it is run.
        line: where it begins.
    """

    kind: str
    title: str
    text: str
    why: str
    line: int


def blocks(page):
    """The code blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            match["kind"],
            match["title"] or "",
            match["text"],
            match["why"] or "",
            text.count("\n", 0, match.start("text")) + 1,
        )
        for match in _BLOCK.finditer(text)
    ]


def run_page(page, capsys):
    """Run the blocks of a page in the working folder, as a reader would from top to bottom."""
    names = {"__name__": "page"}
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text)
        elif block.why or block.kind in SHOWN:
            continue
        elif block.kind == "python":
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(page), "exec", dont_inherit=True), names)
        else:
            for command, expected in commands(block.text):
                capsys.readouterr()
                status, said = run_line(command + " --format table" * bool(expected))
                captured = capsys.readouterr()
                assert status == 0, f"{where}: {command}\n{captured.err}{said}"
                if expected:
                    assert_alike(captured.out or said, expected, where)


def commands(text):
    """The commands of a console block with the output that is shown below each."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.replace("\\\n", " ").partition("\n")
        yield command, output.strip()


def run_line(line):
    """Run one command line; ``molgeo`` itself in this process, if no variables are set for it.

    As for the installed program, the working folder is not among those that are imported from.

    Returns:
        its exit status, and its output where it is not this process's.
    """
    before, pipe, last = line.rpartition(" | ")
    words = shlex.split(last, comments=True)
    if "=" in words[0]:
        return run_with_variables(words)
    if words[:3] == ["python", "-m", "molgeo"]:
        words = words[2:]
    if words[0] == "make":
        words = ["make", "--dry-run", "-C", str(ROOT), *words[1:]]
    if words[0] != "molgeo":
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    given = subprocess.run(before, shell=True, capture_output=True, check=True) if pipe else None
    with contextlib.ExitStack() as stack:
        if given:
            stack.callback(setattr, sys, "stdin", sys.stdin)
            sys.stdin = io.TextIOWrapper(io.BytesIO(given.stdout), encoding="utf-8")
        stack.callback(setattr, sys, "path", sys.path)
        sys.path = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
        return main(smaller(words[1:])), ""


def run_with_variables(words):
    """Run ``NAME=value … molgeo …`` in a process of its own."""
    n = next(k for k, word in enumerate(words) if "=" not in word)
    assert words[n] == "molgeo", words
    variables = dict(word.split("=", 1) for word in words[:n])
    path = f"{variables.pop('PYTHONPATH')}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "molgeo", *smaller(words[n + 1 :])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables, "PYTHONPATH": path},
    )
    return done.returncode, done.stdout + done.stderr


def smaller(words):
    """A command's words, for a run of seconds."""
    text = " ".join(words)
    for command, options in SMALLER.items():
        if text.startswith(command):
            words = [*words, *options.split()]
    if "--steps" in words and words[0] == "md":
        at = words.index("--steps") + 1
        words[at] = str(int(words[at]) // 1000)
    return words


def assert_alike(output, shown, where):
    """What is printed is what the page shows, but for the rounding of numbers."""
    got, expected = output.split(), shown.split()
    same = len(got) == len(expected) and all(map(_alike, got, expected))
    assert same, f"{where}: the page shows\n{shown}\nbut this is printed:\n{output}"


def _alike(got, expected):
    try:
        return abs(float(got) - float(expected)) <= 0.02 * abs(float(expected))
    except ValueError:
        return got == expected
