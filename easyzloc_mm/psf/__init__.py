"""A measured PSF: spline model over the field, likelihood fit, CRLB."""
