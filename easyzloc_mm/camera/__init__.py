"""What turns a camera's counts into photons, for the whole chip or for every pixel."""
