"""Detect, fit, z: one pipeline, fed by a live camera, by a file, or by a table."""
