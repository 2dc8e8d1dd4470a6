"""A microscope that nobody has described yet, and the profile held against it."""
