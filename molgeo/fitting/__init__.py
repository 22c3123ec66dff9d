"""A model of a user's own values: from a table to a checkpoint, its error bars and a report."""
