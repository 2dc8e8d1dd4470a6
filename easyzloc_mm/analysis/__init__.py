"""Drift, resolution, nuclear pores, rendering: from localisation tables alone."""
