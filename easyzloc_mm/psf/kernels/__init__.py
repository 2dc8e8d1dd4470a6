"""Compiled inner loops of the PSF: the image of a point, and the fit of one."""
