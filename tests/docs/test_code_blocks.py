"""Every code block of README and docs runs, or says why it does not."""

import pytest
from doc_pages import PAGES, ROOT, RUN, SHOWN, blocks, run_page

RUNNABLE = [page for page in PAGES if any(b.kind in RUN and not b.why for b in blocks(page))]

MOST_NOT_RUN = 15
"""Blocks that need a GPU, hours, an installation or a download."""


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_from_top_to_bottom(page, folder, capsys):
    run_page(page, capsys)


def test_every_block_is_run_or_says_why_not():
    kinds = {b.kind for page in PAGES for b in blocks(page)}
    assert kinds <= {*RUN, *SHOWN}
    assert sum(bool(b.why) for page in PAGES for b in blocks(page)) <= MOST_NOT_RUN


def test_a_console_block_holds_commands():
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "console":
                assert block.text.startswith("$ "), f"{page}:{block.line}"
