"""A scan before it begins: order, focus, what it will need."""
