"""Images of every file format, each at the place that its axes give it, and what is missing."""
