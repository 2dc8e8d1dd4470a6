"""From a bead slide to a model, and whether it still holds."""
