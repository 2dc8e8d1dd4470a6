"""Drift, resolution, nuclear pores: from localisation tables alone."""
