"""Processes that localise blocks of frames, here or on a cluster."""
