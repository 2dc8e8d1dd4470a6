"""Live runs at many fields: the ledger, what was cut off, and whether it is whole."""
