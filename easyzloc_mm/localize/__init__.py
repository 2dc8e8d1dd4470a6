"""Detect, fit, give a z: one pipeline, fed by a live camera or by a file."""
