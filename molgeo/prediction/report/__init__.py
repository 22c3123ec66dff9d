"""The page of a run of predictions."""
