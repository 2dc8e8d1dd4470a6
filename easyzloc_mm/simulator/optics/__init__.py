"""The objective: from aberrations to the image of a point."""
