"""Which beads can be trusted, and why the others cannot."""
