"""What a scan leaves: its plate of pictures, its page, and whether it is whole."""
