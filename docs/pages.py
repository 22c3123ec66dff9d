"""What mkdocs adds to the pages of this folder: pages from elsewhere in the repository.

README, ARCHITECTURE and their neighbours are pages as they are, the notebooks are pages with their
stored outputs, and the page of options holds what each command says of itself.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nbformat
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

ROOT: Final = Path(__file__).parents[1]

PAGES: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "data.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/campaign/README.md": "benchmarks/campaign.md",
}
"""File of the repository → page of the site."""

COMMANDS: Final = (
    *("fit", "predict", "embed", "relax", "md", "vib", "train", "evaluate", "calibrate"),
    *("data prepare", "data compact", "data sample", "data label", "models", "info", "export"),
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that come from elsewhere."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    options = "# All options\n\n" + "\n".join(map(help_of, COMMANDS))
    files.append(File.generated(config, "commands/options.md", content=options))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        for path, content in page_of(notebook):
            files.append(File.generated(config, f"notebooks/{path}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the repository's files, which go from file to file, as links from page to page.

    Raises:
        ValueError: a link goes to a file that is no page.
    """
    uri = page.file.src_uri
    source = {page: source for source, page in PAGES.items()}.get(uri, f"docs/{uri}")

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = match[1].partition("#")
        if not target or "://" in target or uri.startswith("notebooks/"):
            return match[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if found not in PAGES and not found.startswith("docs/"):
            raise ValueError(f"{source}: {target} is no page: name it, without a link")
        found = PAGES.get(found, found.removeprefix("docs/")).replace(".ipynb", ".md")
        return f"]({posixpath.relpath(found, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, markdown)


def help_of(command: str) -> str:
    """What ``molgeo COMMAND --help`` prints, as a section."""
    from molgeo.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    return f"## molgeo {command}\n\n```text\n{said.getvalue().strip()}\n```\n"


def page_of(notebook: Path) -> Iterator[tuple[str, str | bytes]]:
    """A notebook as a page, and the pictures that its outputs hold."""
    exporter = MarkdownExporter()
    body, resources = exporter.from_notebook_node(
        nbformat.read(notebook, as_version=4),
        {"unique_key": notebook.stem, "output_files_dir": f"{notebook.stem}_files"},
    )
    yield f"{notebook.stem}.md", body
    yield from resources["outputs"].items()
