"""Numerics that several rooms share: cubic B-splines, robust statistics."""
