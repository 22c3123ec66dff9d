"""The machine: device, precision, progress, files that are whole, text for a terminal."""
