"""Localisations as pictures, volumes and films."""
