"""Libraries that chatter: kept off the terminal, where only our own words should stand."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType


def picasso(module: str) -> ModuleType:
    """Import ``picasso.MODULE``: without its remarks about audio, and without its changes to matplotlib's settings."""
    name = f"picasso.{module}"
    if name in sys.modules:
        return sys.modules[name]
    import matplotlib

    unheard = io.StringIO()
    with matplotlib.rc_context(), contextlib.redirect_stdout(unheard), contextlib.redirect_stderr(unheard):
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
