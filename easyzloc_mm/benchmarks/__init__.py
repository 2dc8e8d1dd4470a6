"""Figures that anyone can measure: accuracy against rivals and limits, speed of inference and of training."""
