"""Data sets as flat tensors, their splits and batches."""
