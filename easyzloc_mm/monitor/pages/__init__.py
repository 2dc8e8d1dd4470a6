"""The pages, as Bokeh documents: of a run, of a calibration, of a scan, and of the camera before a run."""
