"""Libraries that chatter: kept off the terminal, where only our own words should stand."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
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


@contextlib.contextmanager
def native_stderr_held() -> Iterator[None]:
    """Hold back what native code writes to standard error; it is shown only if the block fails."""
    sys.stderr.flush()
    try:
        number = sys.stderr.fileno()
    except (OSError, io.UnsupportedOperation):  # no real file behind it: a test, a GUI
        yield
        return
    kept = os.dup(number)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), number)
            try:
                yield
            except BaseException:
                sys.stderr.flush()
                held.seek(0)
                os.write(kept, held.read())
                raise
            finally:
                sys.stderr.flush()
                os.dup2(kept, number)
    finally:
        os.close(kept)
