"""Molecules in 3D: while the camera runs, from movies, and in another medium."""
