"""Zarr stores and every file format in or out. No other room knows a path inside a store."""
