"""The whole workflow on the embedded microscope, scored against the truth that only a simulation knows."""
