"""How outputs are claimed, written whole, and put in place."""
