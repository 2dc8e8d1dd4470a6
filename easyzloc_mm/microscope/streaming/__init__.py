"""Frames while they come."""
