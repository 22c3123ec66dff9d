"""Making force data: structures to sample, and labels from any ASE calculator."""
