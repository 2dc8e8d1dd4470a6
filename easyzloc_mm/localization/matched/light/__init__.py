"""How a frame is lit between its molecules: its background, unevenness and edges, and what fits are told of them."""
