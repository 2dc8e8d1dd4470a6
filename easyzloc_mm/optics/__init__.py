"""The optics of an objective, computed: what the simulator and the measured PSF have in common."""
