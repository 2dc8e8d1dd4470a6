"""Holding the focus during a live run, by the molecules themselves."""
