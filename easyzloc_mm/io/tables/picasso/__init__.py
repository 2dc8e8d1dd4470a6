"""Files of Picasso: tables (HDF5 with YAML) and picks."""
