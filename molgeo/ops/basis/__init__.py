"""Radial and spherical basis functions and their cutoffs."""
