"""Figures that anyone can measure, side by side with the alternatives."""
