"""Training through Lightning: losses, schedules, averaging, resuming, export."""
