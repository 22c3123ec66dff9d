"""molgeo: molecular properties from 3D graph neural networks."""
