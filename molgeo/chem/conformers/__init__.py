"""From a SMILES to conformers: canonical form, isomers, embedding, force field."""
