"""`python -m easyzloc_mm`: the program, where its script is not on the path."""

import sys

from easyzloc_mm.cli import main

if __name__ == "__main__":
    sys.exit(main())
