"""The bead report."""
