"""The program, with fewer molecules to calibrate and judge a model by: ``python -m tests.helpers.brief_program``."""

import sys

from easyzloc_mm.cli.app import main
from tests.helpers.training import prepare

if __name__ == "__main__":
    prepare()
    sys.exit(main(sys.argv[1:]))
