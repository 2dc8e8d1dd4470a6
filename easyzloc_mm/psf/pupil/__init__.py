"""What the optics say of a measured PSF: its wavefront, how aberrations change it, and which the molecules show."""
