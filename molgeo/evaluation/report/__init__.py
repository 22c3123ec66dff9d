"""The page of a model's errors."""
