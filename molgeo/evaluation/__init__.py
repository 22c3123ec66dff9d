"""Errors of a model on a data set, its card, and published figures beside it."""
