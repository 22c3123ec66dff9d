"""Every model there is, small: what is tested of all models finds new ones by itself."""

from dataclasses import fields

import pytest

from molgeo import models
from molgeo.testing import Case

MOST = {"n_blocks": 2, "n_spherical": 3, "n_atom_layers": 1}
"""Numbers of layers and of orders, whose cost is that of tracing them."""

every_model = pytest.mark.parametrize("name", models.names())


def small(name, device="cpu", cutoff=4.0):
    """A version of any model: no wider than 16, no deeper than 2, with short cutoffs.

    If a model has a smooth form it is that, as most tests are of what holds on a smooth surface.
    """
    cls = models.model_class(name)
    config = cls().config
    longest = "int_cutoff" if hasattr(config, "int_cutoff") else "cutoff"
    wanted = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name == longest:
            wanted[longest] = cutoff
        elif field.name == "cutoff":
            wanted["cutoff"] = 0.8 * cutoff
        elif field.name == "smooth":
            wanted["smooth"] = True
        elif field.name == "members":
            wanted["members"] = [one | small(one["model"], cutoff=cutoff).fields for one in value]
        elif type(value) is int and field.name != "n_out":
            wanted[field.name] = min(value, MOST.get(field.name, 16))
    return Case(cls, wanted, device)
