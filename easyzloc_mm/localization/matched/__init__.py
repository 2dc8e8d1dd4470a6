"""Molecules found and fitted by the measured PSF, alone and in crowds."""
