"""What is on the slide."""
