"""``python -m easyzloc_mm``: the same as ``easyzloc-mm``, where scripts are not on the path."""

import sys

from easyzloc_mm.cli import main

sys.exit(main())
