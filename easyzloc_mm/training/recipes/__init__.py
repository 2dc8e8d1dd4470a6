"""Recipes: how networks are built and trained; ours, and the published one."""
