"""Tables of programs whose formats are read, and not written."""
