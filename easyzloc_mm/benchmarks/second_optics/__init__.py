"""A second microscope, to be judged by: optics that share no code with the embedded ones."""
