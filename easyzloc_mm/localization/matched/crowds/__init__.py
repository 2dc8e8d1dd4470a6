"""Molecules whose images overlap: explained together, searched for, and how uncertain that leaves them."""
