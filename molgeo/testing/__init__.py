"""Whether a backbone keeps what molgeo expects of one: its physics, derivatives and contract.

    >>> from molgeo.testing import CHECKS, Case, check_backbone
    >>> check_backbone(MyBackbone, n_features=16, n_blocks=2)

A test suite can have one test for each check:

    >>> @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    ... def test_my_backbone(check):
    ...     check(Case(MyBackbone, {"n_features": 16, "n_blocks": 2}))
"""

from __future__ import annotations

from typing import Any

from molgeo.models import Backbone
from molgeo.testing import charge, contract, padding, physics
from molgeo.testing.case import Case

__all__ = ["CHECKS", "Case", "check_backbone"]

CHECKS = (*contract.CHECKS, *physics.CHECKS, *charge.CHECKS, *padding.CHECKS)
"""Functions of a `Case` that raise an error if it does not keep what their docstrings say."""


def check_backbone(cls: type[Backbone], **fields: Any) -> None:
    """Make all checks of a backbone, as itself and under molgeo's heads.

    Args:
        cls: the class, at the top of a module.
        **fields: of its config, so that it is small. The checks take seconds if layers are 16 wide
            and the cutoff is 4 Å, and minutes for a published size.

    Raises:
        AssertionError: some checks failed; a line for each names the property and by how much. If
            no model can be built, or its config fails, no other check is made.
    """
    failed: dict[str, Exception] = {}
    for check in CHECKS:
        try:
            check(Case(cls, fields))
        except Exception as error:  # whatever a backbone raises is a failed check
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            failed[f"{check.__name__}: {kind}{error}"] = error
            if check is contract.config:
                break
    if failed:
        title = f"{cls.__name__} fails {len(failed)} of {len(CHECKS)} checks"
        if contract.config.__name__ == next(iter(failed)).partition(":")[0]:
            title = f"{cls.__name__} fails the first of {len(CHECKS)} checks, which the others need"
        raise AssertionError("\n  ".join([title, *failed])) from next(iter(failed.values()))
