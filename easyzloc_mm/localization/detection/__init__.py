"""Spots in frames, and their Gaussian fits."""
