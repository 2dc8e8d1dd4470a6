"""Movies, stacks and pyramids: opened whatever their format, and written."""
