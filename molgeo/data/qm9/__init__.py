"""QM9: its sources, its prepared form, its labels and its split."""
