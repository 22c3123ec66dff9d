"""Pages about runs, for people: one file each, which needs no network."""
