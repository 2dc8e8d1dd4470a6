"""Localisations counted and measured against a known truth."""
