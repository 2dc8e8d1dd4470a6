"""Where beads are in a stack."""
