"""The live page: what a run looks like while it is being made. Reads the store and nothing else."""
