"""What comes of a localisation table, and whether a result is whole."""
