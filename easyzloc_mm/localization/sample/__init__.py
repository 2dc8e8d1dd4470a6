"""A run's molecules held against the beads' PSF: are they explained by it, and what are their uncertainties if not."""
