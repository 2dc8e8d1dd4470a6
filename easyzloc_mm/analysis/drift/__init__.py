"""How the sample moved, and the way back."""
