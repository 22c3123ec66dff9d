"""A model with its heads, baseline and units; what it was trained on; its checkpoints."""

from molgeo.predictor.potential import Potential
from molgeo.predictor.predictor import Predictor

__all__ = ["Potential", "Predictor"]
