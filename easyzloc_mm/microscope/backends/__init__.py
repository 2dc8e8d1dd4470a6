"""How a microscope is reached: one module for each `Backend` of the profile."""
