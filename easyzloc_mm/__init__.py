"""3D single-molecule localisation at acquisition time, on an unmodified microscope.

The rooms, in the order data flows: ``profile`` -> ``microscope`` (``simulator``) -> ``acquire`` -> ``beads`` ->
``network`` -> ``localize`` -> ``analysis``; ``store`` holds every file format, ``cli`` the commands.
Importing the package is cheap: TensorFlow and Picasso load only when they are used.
"""

__version__ = "0.1.0"
