"""Bead stacks to a labelled bead data set."""
