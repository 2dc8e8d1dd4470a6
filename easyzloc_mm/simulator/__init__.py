"""The embedded microscope: real MMCore demo devices, images rendered from a vectorial PSF model."""
