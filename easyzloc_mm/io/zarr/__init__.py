"""Zarr v3 arrays and OME metadata, written while others read."""
