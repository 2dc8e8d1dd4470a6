"""The hardware profile: what a microscope is, checked before anything moves."""
