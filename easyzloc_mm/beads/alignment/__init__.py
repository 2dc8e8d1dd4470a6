"""Where each bead has its focus."""
