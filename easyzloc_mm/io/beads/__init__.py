"""Bead stacks and bead data sets, in every format."""
