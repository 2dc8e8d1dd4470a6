"""From labelled beads to a model."""
