"""Making geometries and labels: structures off equilibrium, conformers of QM9 and of tables."""
