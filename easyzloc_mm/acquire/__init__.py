"""What to do with a microscope: bead stacks, live runs, scans, the whole calibration."""
