"""Energies and forces: readers, units and their plausibility, split by molecule."""
