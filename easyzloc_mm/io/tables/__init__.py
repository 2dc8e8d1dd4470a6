"""Localisation tables of every program."""
