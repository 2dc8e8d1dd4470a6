"""Training: from labelled beads to a model."""
