"""A trained model: its card, its predictions, their uncertainties and flags."""
