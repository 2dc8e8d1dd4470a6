"""TIFF of every program: directories, headings and size on disk are held against each other."""
