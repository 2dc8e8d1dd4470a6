"""A trained model, ready to be believed or not."""
