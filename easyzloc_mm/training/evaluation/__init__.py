"""How good a model is, on beads that it has never seen."""
