"""On files, without a microscope: beads, training, movies."""
