"""Drift of the sample: estimated, taken out, put back."""
