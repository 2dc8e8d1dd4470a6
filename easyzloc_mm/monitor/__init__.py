"""The live page of a run while it is being recorded; it reads the store only."""
