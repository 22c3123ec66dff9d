"""Whether anything that a stranger brings stops a run: mutated SMILES, mutated files, kills.

    python benchmarks/robustness.py                                   # all parts, half an hour
    python benchmarks/robustness.py --parts smiles --smiles 5000
    python benchmarks/robustness.py --parts kills --kills 10

Every part drives ``molgeo predict`` as a user does, each input in a process of its own (a fork, of
many small files), and checks what may never break: as many rows as inputs and in their order, exit
status 0, 2 or 3, no traceback, and an interrupted run that goes on to the very bytes of one that
was not. Rows are counted by rules of this file, not by molgeo's readers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

MOLGEO: Final = (sys.executable, "-m", "molgeo")
EXIT_STATUSES: Final = (0, 2, 3)
"""All fine; unreadable input or wrong usage; some rows failed."""

MOLECULES: Final = tuple(
    """
    CCO c1ccccc1 CC(=O)Oc1ccccc1C(=O)O CN1C=NC2=C1C(=O)N(C(=O)N2C)C C[C@H](N)C(=O)O O=C=O N#N
    OC(=O)/C=C/C(=O)O C1CC2CCC1C2 [O-][N+](=O)c1ccc(N)cc1 FC(F)(F)C#N OCC1OC(O)C(O)C(O)C1O
    C1=CC=C2C=CC=CC2=C1 CC(C)Cc1ccc(cc1)C(C)C(O)=O NCC(=O)NCC(=O)O C#CC#C C1CO1 N[C@@H](CO)C=O
    CS(=O)(=O)C ClC=C [Na+].[Cl-] C[N+](C)(C)C [2H]C [CH3] *CC O=[Si]=O P(=O)(O)(O)O B(O)O
    """.split()  # noqa: SIM905
)

INSERTED: Final = (
    *"()[]{}=#-+\\/@.%:$~*<>?!&'\"`^|,;0123456789CNOFSPHclBrIabz",
    *(
        "é",
        "水",
        "💧",
        "\u202e",
        "\x00",
        "\x1b[31m",
        "\ud800",
        "%(",
        "[[[[",
        "C1C1",
        "\x7f",
        "\xa0",
    ),
    *("((((((((", "[C@@@]", "[999C]", "c1cc", "C" * 300, "(C)" * 40, "C1CCCC1" * 12, "=" * 20),
)
"""What is put into a text; a lone surrogate is written as a byte that is no UTF-8."""

XYZ: Final = """3
water
O 0.0000 0.0000 0.1173
H 0.0000 0.7572 -0.4692
H 0.0000 -0.7572 -0.4692
"""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the parts, print what they found, and return it; exit with 1 if anything broke."""
    options = _parse(arguments)
    found = {part: PARTS[part](options) for part in options.parts}
    print(json.dumps(found, indent=2))
    if any(result["broken"] for result in found.values()):
        raise SystemExit(1)
    return found


def mutated(text: str, generator: random.Random, times: int) -> str:
    """A text with some random changes: characters put in, taken out, swapped or said twice."""
    for _ in range(times):
        at = generator.randrange(len(text) + 1)
        end = min(len(text), at + generator.randint(1, 12))
        kind = generator.randrange(5)
        if kind <= 1:
            text = text[:at] + generator.choice(INSERTED) + text[at:]
        elif kind == 2:
            text = text[:at] + text[end:]
        elif kind == 3:
            text = text[:at] + text[at:end] * generator.randint(2, 20) + text[end:]
        else:
            other = generator.randrange(len(text) + 1)
            text = text[:at] + text[other : other + 6] + text[end:]
    return text


def smiles(options: argparse.Namespace) -> dict[str, Any]:
    """One file of mutated SMILES: a row each, in their order."""
    generator = random.Random(options.seed)
    lines: list[str] = []
    while len(lines) < options.smiles:
        line = mutated(generator.choice(MOLECULES), generator, generator.randint(1, 4))
        word = "".join(c for c in line if c not in "\r\n\t \x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
        if word and not word.startswith(("#", '"')):
            lines.append(word)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "mutated.smi"), Path(folder, "out.jsonl")
        content = "smiles\n" + "\n".join(lines) + "\n"
        source.write_bytes(content.encode("utf-8", errors="surrogatepass"))
        start = time.monotonic()
        done = _predict(source, "--output", target, "--conformers", "1")
        seconds = time.monotonic() - start
        rows = [json.loads(line) for line in target.read_text().splitlines()]
    broken = _complaints(done, source)
    if len(rows) != len(lines):
        broken.append(f"{len(lines)} SMILES gave {len(rows)} rows")
    for number, row in enumerate(rows):
        if row["id"] != number or not row["input"].endswith(f":{number + 2}"):
            broken.append(f"row {number} is {row['id']} of {row['input']}")
            break
    n_ok = sum(row["status"] == "ok" for row in rows)
    about = {"rows": len(rows), "ok": n_ok, "seconds": round(seconds, 1), "exit": done.returncode}
    return {**about, "broken": broken}


def files(options: argparse.Namespace) -> dict[str, Any]:
    """Mutated files of every format: an answer or one line, never a traceback."""
    generator = random.Random(options.seed)
    broken: list[str] = []
    statuses: dict[int, int] = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        whole = list(_whole_files(Path(folder)).items())
        _warm(Path(folder))
        for number in range(options.files):
            suffix, content = whole[number % len(whole)]
            path = Path(folder, f"mutated{number}{suffix}")
            path.write_bytes(_spoilt(content, suffix, generator))
            target = path.with_name(f"{path.name}.jsonl")
            start = time.monotonic()
            done = _forked(path, "--output", target, "--conformers", "1")
            slowest = max(slowest, time.monotonic() - start)
            statuses[done.returncode] = statuses.get(done.returncode, 0) + 1
            complaints = _complaints(done, path)
            if target.exists():
                ids = [json.loads(line)["id"] for line in target.read_text().splitlines()]
                if ids != list(range(len(ids))):
                    complaints.append(f"{path.name}: rows are out of order")
            if complaints and options.keep:
                (Path(options.keep) / path.name).write_bytes(path.read_bytes())
            broken += complaints
            path.unlink()
    exits = {str(status): n for status, n in sorted(statuses.items())}
    return {"files": options.files, "exit": exits, "slowest_s": round(slowest, 1), "broken": broken}


def kills(options: argparse.Namespace) -> dict[str, Any]:
    """Runs that are killed at random moments and go on: the same bytes as undisturbed ones."""
    generator = random.Random(options.seed)
    broken: list[str] = []
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "molecules.smi")
        names = [m for m in MOLECULES for _ in range(options.copies)]
        source.write_text("".join(f"{m} {k}\n" for k, m in enumerate(names)))
        whole = Path(folder, "whole.csv")
        start = time.monotonic()
        _predict(source, "--output", whole)
        seconds = time.monotonic() - start
        for number in range(options.kills):
            target = Path(folder, f"killed{number}.csv")
            command = [*MOLGEO, "predict", str(source), "--output", str(target)]
            moment = generator.uniform(0.2, 1.0) * seconds
            process = subprocess.Popen(command, stderr=subprocess.PIPE)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            moments.append(round(moment, 2))
            was_left = not target.exists()
            if was_left:
                done = _predict(source, "--output", target, "--resume")
                broken += _complaints(done, source)
            if not target.exists() or target.read_bytes() != whole.read_bytes():
                broken.append(f"killed after {moment:.2f} s: the output is another one")
    return {"kills_after_s": moments, "whole_run_s": round(seconds, 1), "broken": broken}


def _whole_files(folder: Path) -> dict[str, bytes]:
    """Ending → a sound file of some molecules."""
    from ase import Atoms
    from ase.db import connect
    from ase.io import write
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mols = [Chem.AddHs(Chem.MolFromSmiles(s)) for s in ("CCO", "c1ccccc1O", "C[C@H](N)C(=O)O")]
    for mol in mols:
        AllChem.EmbedMolecule(mol, randomSeed=1)
    blocks = [Chem.MolToMolBlock(mol) for mol in mols]
    atoms = [
        Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())
        for mol in mols
    ]
    for path in ("a.extxyz", "a.traj"):
        write(folder / path, atoms)
    with connect(folder / "a.db") as database:
        for one in atoms:
            database.write(one)
    table = "name,structure,note\n" + "".join(f'{k},{s},"a, b"\n' for k, s in enumerate(MOLECULES))
    whole = {
        ".xyz": (XYZ * 3).encode(),
        ".sdf": "".join(f"{block}>  <ID>\n7\n\n$$$$\n" for block in blocks).encode(),
        ".mol": blocks[0].encode(),
        ".csv": table.encode(),
        ".tsv": table.replace(",", "\t").encode(),
        ".smi": "".join(f"{s} n{k}\n" for k, s in enumerate(MOLECULES)).encode(),
        **{f".{end}": (folder / f"a.{end}").read_bytes() for end in ("extxyz", "traj", "db")},
        ".pdb": Chem.MolToPDBBlock(mols[0]).encode(),
    }
    packed = {f"{end}.gz": gzip.compress(whole[end]) for end in (".xyz", ".sdf", ".csv")}
    return whole | packed


def _spoilt(content: bytes, suffix: str, generator: random.Random) -> bytes:
    """A file with changed text, or with changed, cut or added bytes."""
    binary = suffix in (".db", ".traj") or suffix.endswith(".gz")
    if not binary and generator.random() < 0.6:
        text = mutated(content.decode(), generator, generator.randint(1, 8))
        return text.encode("utf-8", errors="surrogatepass")
    data = bytearray(content)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(data)) if data else 0
        kind = generator.randrange(4)
        if kind == 0:
            data[at : at + 1] = bytes([generator.randrange(256)])
        elif kind == 1:
            del data[at : at + generator.randint(1, 40)]
        elif kind == 2:
            data[at:at] = generator.randbytes(generator.randint(1, 20))
        elif generator.random() < 0.2:
            del data[at:]
    return bytes(data)


def _predict(source: Path, *more: object) -> subprocess.CompletedProcess[str]:
    words = [*MOLGEO, "predict", str(source), *map(str, more)]
    return subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)


def _warm(folder: Path) -> None:
    """Import and load what a prediction needs once, for all forks."""
    path = folder / "warm.smi"
    path.write_text("O\n")
    done = _predict(path, "--conformers", "1")
    if done.returncode:
        raise RuntimeError(done.stderr)
    from molgeo.prediction import predict

    predict(["O"], conformers=1)


def _forked(source: Path, *more: object) -> subprocess.CompletedProcess[str]:
    """As `_predict`, without the seconds that a new interpreter takes to import."""
    errors = source.with_name(f"{source.name}.stderr")
    words = ["predict", str(source), *map(str, more)]
    child = os.fork()
    if not child:
        status = 70  # of a child that ends in any other way than by returning
        try:
            with errors.open("w") as file:
                os.dup2(file.fileno(), 2)
                os.dup2(file.fileno(), 1)
                from molgeo.cli import main as molgeo

                status = molgeo(words)
                sys.stderr.flush()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    text = errors.read_text(errors="replace")
    errors.unlink()
    return subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(ended), "", text)


def _complaints(done: subprocess.CompletedProcess[str], source: Path) -> list[str]:
    """What is wrong with how a command ended."""
    found = []
    if done.returncode not in EXIT_STATUSES:
        found.append(f"{source.name}: exit status {done.returncode}: {done.stderr[-300:]}")
    if "Traceback" in done.stderr:
        found.append(f"{source.name}: a traceback: {done.stderr[-300:]}")
    if any(len(line) > 1000 for line in done.stderr.splitlines()):
        found.append(f"{source.name}: a message of over 1,000 characters")
    return found


PARTS: Final[dict[str, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "smiles": smiles,
    "files": files,
    "kills": kills,
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--smiles", type=int, default=5000, help="mutated SMILES")
    parser.add_argument("--files", type=int, default=600, help="mutated files")
    parser.add_argument("--kills", type=int, default=10, help="runs that are killed")
    parser.add_argument("--copies", type=int, default=12, help="of each molecule, in killed runs")
    parser.add_argument("--keep", type=Path, help="folder for the files that broke something")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
