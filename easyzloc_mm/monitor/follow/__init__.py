"""What is being written, read as far as it has come: runs, bead stacks, scans; and the camera before a run."""
