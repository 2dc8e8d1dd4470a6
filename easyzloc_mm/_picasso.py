"""Libraries that chatter: kept off the terminal, where only our own words should stand."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from types import ModuleType

_importing = threading.Lock()


def picasso(module: str) -> ModuleType:
    """Import ``picasso.MODULE``: without its remarks about audio, and without its changes to matplotlib's settings."""
    name = f"picasso.{module}"
    # Settings are saved and put back here: two threads at once would put back each other's.
    with _importing:
        if name in sys.modules:
            return sys.modules[name]
        import matplotlib

        logging.getLogger("playsound3").setLevel(logging.ERROR)
        with matplotlib.rc_context():
            return importlib.import_module(name)
