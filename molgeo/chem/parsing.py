"""Text → RDKit molecules, whatever its characters, and what RDKit says of them.

RDKit takes what is not ASCII for the end of a SMILES, so that ``CCé`` would be ethane, and white
space for the begin of a name. It also cuts its messages at any byte: half a character cannot be
decoded, and its log raises. So RDKit is given ASCII only, and a SMILES is looked through first.

RDKit's parsers return None and print the reason. `rdkit_messages` collects those lines, also if
several threads parse at once, and leaves RDKit's logging as it was found. `why_none` gives the
reason itself.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from rdkit import Chem, rdBase

from molgeo.chem.molecule import BadRow, SmilesRow

MAX_SMILES_LENGTH: Final = 5000
"""Characters. A molecule of 300 atoms has about a tenth of them."""

SPACE_IN_SMILES: Final = (
    "white space in the SMILES: give one SMILES only; a name goes behind it in a .smi file, in a "
    "column of its own, or on standard input: printf 'CCO ethanol\\n' | molgeo predict -"
)

MAX_LINES: Final = 20
"""Lines of RDKit's that are kept: a SMILES of open brackets makes three for each of them."""

MAX_LENGTH: Final = 500  # characters of such a line that are kept: RDKit repeats the whole input
_READINGS: Final = 9  # of an input whose reason is asked for; a quarter of a second of silence
_OTHER = re.compile(r"[^!-~]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\]\s*")
_INCHI_KEY: Final = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")


def structure_row(
    text: str,
    name: str,
    input: str,
    max_length: int = MAX_SMILES_LENGTH,
    extra: Mapping[str, Any] | None = None,
) -> SmilesRow | BadRow:
    """A row of a SMILES or an InChI as text, checked as far as that goes without parsing a SMILES.

    ``name``, ``input`` and ``extra`` are as in `Molecule`.
    """
    text, extra = text.strip(), extra or {}
    fault = smiles_fault(text, max_length)
    if fault is None and _INCHI_KEY.fullmatch(text):
        fault = "an InChIKey does not tell the structure: give the SMILES or the InChI"
    smiles = text
    if fault is None and is_inchi(text):
        parse = partial(Chem.MolFromInchi, in_ascii(text))
        with rdkit_messages():
            mol = parse()
            if mol is not None and mol.GetNumAtoms():
                smiles = str(Chem.MolToSmiles(mol))
            else:
                reason = why_none(parse)[0].removeprefix("ERROR:").strip()
                fault = f"not a valid InChI: {reason}"
    if fault is not None:
        return BadRow(input, name, text, fault, extra=extra)
    return SmilesRow(smiles, name, input, extra)


def smiles_fault(smiles: str, max_length: int | None = None) -> str | None:
    """Why a text cannot be a SMILES, found before any parser sees it; None if it may be one."""
    if max_length is not None and len(smiles) > max_length:
        return (
            f"the SMILES has {len(smiles):,} characters: at most {max_length:,} are read "
            "(--max-smiles-length)"
        )
    if any(map(str.isspace, smiles)):
        return SPACE_IN_SMILES
    odd = _OTHER.search(smiles)
    if odd is None:
        return None
    return (
        f"not a valid SMILES: {_described(odd[0])} at position {odd.start() + 1}, but a SMILES "
        "has ASCII characters only: type it instead of copying it"
    )


def mol_from_smiles(smiles: str) -> Chem.Mol | None:
    """A molecule, or None if RDKit cannot read all of the text as a SMILES, or it is too long."""
    return None if smiles_fault(smiles, MAX_SMILES_LENGTH) else Chem.MolFromSmiles(smiles)


def is_inchi(text: str) -> bool:
    """Whether a text says that it is an InChI."""
    return text.startswith("InChI=")


def isotope_reason(mol: Chem.Mol) -> str | None:
    """Why a molecule with labelled isotopes is refused, or None for one without."""
    for atom in mol.GetAtoms():
        if atom.GetIsotope():
            return (
                f"isotope {atom.GetIsotope()}{atom.GetSymbol()}: the models know the common "
                "isotopes only (zpve, u298, h298, g298 and cv depend on them): remove the label to "
                "take the common isotope"
            )
    return None


def in_ascii(text: str) -> str:
    """A text with ``?`` for each character that is not ASCII, and for NUL, at which RDKit stops."""
    return text.encode("ascii", "replace").decode("ascii").replace("\0", "?")


def without_surrogates(text: str) -> str:
    """A text that can be written: U+FFFD for bytes of a name that are no UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def one_line(error: Exception | str, length: int = 200) -> str:
    """What a library says, in one line of bounded length."""
    return " ".join(str(error).split())[:length]


def _described(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that it cannot decode
        return f"byte 0x{ord(character) - 0xDC00:02X}, which is no UTF-8,"
    name = unicodedata.name(character, "")
    shown = f"{character!r} " if character.isprintable() else ""
    return f"character {shown}(U+{ord(character):04X}{', ' + name if name else ''})"


class _Collector(logging.Handler):
    """Appends each line to the list of the thread that caused it."""

    def __init__(self) -> None:
        super().__init__()
        self.local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        lines: list[str] | None = getattr(self.local, "lines", None)
        if lines is not None and len(lines) < MAX_LINES:
            lines.append(_STAMP.sub("", str(record.msg)[:MAX_LENGTH]).strip())


_collector = _Collector()
_logger = logging.getLogger("rdkit")
_lock = threading.Lock()
_users = 0
_found: tuple[list[logging.Handler], bool, str] = ([], False, "")


@contextmanager
def rdkit_messages() -> Iterator[list[str]]:
    """Silence RDKit in a ``with`` block and collect what this thread makes it say.

    Yields:
        Lines, without their time stamps, in the order in which they came.
    """
    outer: list[str] | None = getattr(_collector.local, "lines", None)
    lines: list[str] = []
    _collector.local.lines = lines
    _enter()
    try:
        yield lines
    finally:
        _leave()
        _collector.local.lines = outer


def why_none(parse: Callable[[], object]) -> list[str]:
    """What RDKit says of an input that it cannot read.

    RDKit silences the logs of all threads for a moment where it looks for stereo, so that a line
    may be lost. The input is therefore parsed until RDKit says the same twice. If it says nothing,
    the other thread may be waiting for a processor within that moment: then this one waits too.

    Args:
        parse: reads the input, which gives None.

    Returns:
        Lines as of `rdkit_messages`, at least one.
    """
    said: list[str] | None = None
    for reading in range(_READINGS):
        with rdkit_messages() as messages:
            parse()
        if messages and messages == said:
            break
        if not messages:
            time.sleep(1e-3 * 2**reading)
        said = messages or said
    return said or ["RDKit gives no reason"]


def _enter() -> None:
    """The first of all threads redirects RDKit's log to the collector."""
    global _users, _found
    with _lock:
        _users += 1
        if _users == 1:
            _found = (_logger.handlers[:], _logger.propagate, rdBase.LogStatus())
            _logger.handlers[:] = [_collector]
            _logger.propagate = False
            rdBase.LogToPythonLogger()


def _leave() -> None:
    """The last one puts back what was found."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            handlers, propagate, status = _found
            _logger.handlers[:] = handlers
            _logger.propagate = propagate
            rdBase.LogToCppStreams()
            for line in status.splitlines():
                name, _, state = line.partition(":")
                switch = rdBase.EnableLog if state == "enabled" else rdBase.DisableLog
                switch(name)
