"""What to do with a microscope: calibrate, live runs, scans."""
