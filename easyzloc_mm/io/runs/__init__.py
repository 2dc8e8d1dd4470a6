"""What is inside a ``RUN.zarr``."""
