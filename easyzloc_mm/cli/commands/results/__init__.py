"""With a localisation table: corrections, pictures, figures."""
