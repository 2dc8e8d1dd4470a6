"""What beads say of an instrument: how it has changed since a calibration, and how well it does, item by item."""
