"""Photograph beads through focus."""
