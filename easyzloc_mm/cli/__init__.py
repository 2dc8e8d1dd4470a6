"""The command line: parse, call, print. The work is done in the other rooms."""

from easyzloc_mm.cli.app import main

__all__ = ["main"]
