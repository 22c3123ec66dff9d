"""A model with its heads, baseline and units; what it was trained on; its checkpoints."""

from molgeo.predictor.predictor import Potential, Predictor

__all__ = ["Potential", "Predictor"]
