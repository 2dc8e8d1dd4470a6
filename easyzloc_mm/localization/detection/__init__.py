"""Spots in frames, and what a Gaussian fit says of them."""
