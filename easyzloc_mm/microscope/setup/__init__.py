"""Setting a microscope up: what it consists of, a first profile, and whether a profile fits."""
