"""Evaluation: accuracy on beads that a model was not trained on, and calibration of its uncertainties."""
