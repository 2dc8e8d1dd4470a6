"""How good a run is: photons, precision, density, drift, blinking, resolution, flags, on one page."""
