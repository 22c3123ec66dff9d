"""Columns of numbers as properties by name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from molgeo.properties import Property


def named(values: Tensor, properties: Sequence[Property]) -> dict[str, Tensor]:
    """Columns by name, with what two of them say of each other.

    Args:
        values: (molecules, properties) in the properties' units.
        properties: what they are.

    Returns:
        Name → (molecules,).
    """
    columns = zip(properties, values.unbind(-1), strict=True)
    out = {one.name: column for one, column in columns}
    for one in properties:
        if one.tied_to is not None and one.tied_to[0] in out:
            # Two heads estimate one number: their mean is the better estimate, and consistent.
            base, constant = one.tied_to
            out[base] = 0.5 * (out[base] + out[one.name] - constant)
            out[one.name] = out[base] + constant
    return out
