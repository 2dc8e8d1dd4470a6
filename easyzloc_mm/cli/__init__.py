"""The command line: parse, call, print. The work is done in the other rooms."""

import os

# Cameras, Micro-Manager and processes of ours share the computer with a command. Threads of NumPy's matrix products
# wait for each other by spinning: where cores are taken, 20 s of work became 170. NumPy looks once, when imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

from easyzloc_mm.cli.app import main

__all__ = ["main"]
