"""SideBySide: several backbones on one graph, whose features are joined.

    h_i = [h_i of member 1 ‖ h_i of member 2 ‖ …]

Networks that were trained apart err apart, so that the mean of their predictions is better than
each. Heads whose hidden units see one member each, and that add up weighted outputs, make that mean
(`benchmarks/campaign/merge.py`): one model, one file, one pass for all properties.

The graph is that of the longest cutoff. Edges beyond a member's own contribute nothing to it.

Source:
    Deep ensembles: Lakshminarayanan, Pritzel, Blundell, NeurIPS 2017.

Deviation:
    Members are averaged inside of one network, so that their spread is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import torch
from annotated_types import Len
from torch import Tensor, nn

from molgeo import models
from molgeo.graph import Graph
from molgeo.models import Backbone, resolve_config
from molgeo.ops.dense import Dense
from molgeo.runtime.errors import SettingError

MOST_MEMBERS: Final = 16


def _two() -> list[dict[str, Any]]:
    return [{"model": "spectrum_net"}, {"model": "schnet", "cutoff": 5.0}]


@dataclass(frozen=True)
class SideBySideConfig:
    """Hyperparameters of `SideBySide`.

    Attributes:
        members: of each backbone ``model``, a name of molgeo's own models, and the fields of its
            config that differ from the defaults.
        n_out: channels of the readout, a linear layer per atom; None leaves it out, for molgeo's
            heads.
    """

    members: Annotated[list[dict[str, Any]], Len(1, MOST_MEMBERS)] = field(default_factory=_two)
    n_out: int | None = 1


class SideBySide(Backbone):
    """Several backbones, called as one: ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the defaults.
        **fields: fields of `SideBySideConfig` that differ from ``config``.

    Raises:
        ValueError: a member is none of molgeo's other models, or its fields are wrong.
    """

    def __init__(self, config: SideBySideConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: SideBySideConfig = resolve_config(SideBySideConfig, config, fields)
        self.members = nn.ModuleList(_built(one) for one in self.config.members)
        own: list[Any] = [*self.members]
        self.cutoff = max(one.cutoff for one in own)
        self.feature_dim = sum(one.feature_dim for one in own)
        self.n_elements = min(one.n_elements for one in own)
        self.takes_charge = any(one.takes_charge for one in own)
        self.is_smooth = all(one.is_smooth for one in own)
        self.tells_mirror_images = any(one.tells_mirror_images for one in own)
        self.linear_in_edges = all(one.linear_in_edges for one in own)
        if self.config.n_out is not None:
            self.readout = Dense(self.feature_dim, self.config.n_out)

    def reset_parameters(self) -> None:
        """Each member's own beginning, and that of the readout."""
        modules: list[Any] = [*self.members]
        if self.config.n_out is not None:
            modules.append(self.readout)
        for one in modules:
            one.reset_parameters()

    def fit_factors(self, z: Tensor, pos: Tensor, graph: Graph) -> None:
        """Those of each member."""
        own: list[Any] = [*self.members]
        for one in own:
            one.fit_factors(z, pos, graph)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings, (atoms, feature_dim)."""
        own: list[Any] = [*self.members]
        return torch.cat([one.atom_features(z, pos, graph) for one in own], dim=-1)


def _built(member: dict[str, Any]) -> Backbone:
    """A member, without a readout. A header may name molgeo's own models alone."""
    fields = dict(member)
    name = fields.pop("model", None)
    known = [one for one in models.own_names() if one != "side_by_side"]
    if name not in known:
        raise SettingError(f"members: expected a model of {', '.join(known)}, got {name!r}")
    built = models.build(name, {**fields, "n_out": None})
    if built.direct_forces:
        raise SettingError(f"members: the forces of {name} are {models.DIRECT}: they have no mean")
    return built


MODEL = SideBySide
