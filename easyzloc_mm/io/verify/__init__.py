"""Reads stored results back and says whether they are whole."""
