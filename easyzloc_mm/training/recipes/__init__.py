"""How networks are built and trained: ours, and the paper's."""
