"""A measured PSF, whatever it is used for: model, likelihood fit, information limit."""
