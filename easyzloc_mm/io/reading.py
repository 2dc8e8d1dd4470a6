"""The door between other libraries and the user: what they raise on a bad file becomes one sentence."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from easyzloc_mm.errors import InputError

LONGEST_REASON = 160
DAMAGED: tuple[type[Exception], ...] = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError,
    NotImplementedError, struct.error, zlib.error,
)  # fmt: skip
"""What parsers in Python raise where bytes are not what they should be; JSON, Unicode and XML errors are among them or
named beside them. Only calls of the library stand inside `reading`, so that no mistake of ours is taken for one."""
UNDECODABLE: tuple[type[Exception], ...] = (*DAMAGED, OSError, RuntimeError, SystemError, MemoryError)
"""What decoders raise where one image is damaged and the others need not be."""
CURES = {
    errno.EACCES: "give yourself the right to it, or close the program that holds it",
    errno.EPERM: "give yourself the right to it",
    errno.ENOENT: "check its name, and whether its disk or network share is there",
    errno.EISDIR: "give the file, not a folder",
    errno.ENOTDIR: "check its path",
    errno.EMFILE: "close other programs, or raise the number of files that may be open",
    errno.ENOSPC: "free space on its disk, or choose another one",
    errno.EDQUOT: "free space on its disk, or choose another one",
    errno.EROFS: "choose a place that can be written",
    errno.EIO: "check its disk or network share, and copy it again",
    errno.ESTALE: "connect its network share again",
    errno.ETIMEDOUT: "connect its network share again",
    errno.ENAMETOOLONG: "check its path",
    errno.ELOOP: "check its path, which is a link to itself",
}
PLAINER = {
    "No group found in store": "it is no Zarr store",
    "contains pickled": "it is no file of arrays",
    "checksum do not match": "its checksum is wrong",
}
"""What libraries say to programmers, by a part of it; numpy even advises to load a damaged file unsafely."""
COPY_AGAIN = "check its disk or network share, and copy it again"
DAMAGED_STORE = "copy it again; `verify` names all that is damaged"


def words(error: BaseException) -> str:
    """Return what another library says of an error, as the short part of a sentence."""
    if isinstance(error, KeyError) and error.args:
        return f"it lacks {error.args[0]!r}"[:LONGEST_REASON]
    text = " ".join(str(error).split()) or type(error).__name__
    text = next((plainer for part, plainer in PLAINER.items() if part in text), text)
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the sentence for a file that the system does not let us read."""
    return InputError(f"{path} cannot be read ({_reason(error)}): {CURES.get(error.errno or 0, COPY_AGAIN)}")


def refused(error: OSError) -> str:
    """Return the sentence for whatever the system refused, where no reader or writer has a better one."""
    cure = CURES.get(error.errno or 0, "check its disk or network share")
    return f"{error.filename} cannot be used ({_reason(error)}): {cure}"


def _reason(error: OSError) -> str:
    reason = (error.strerror or words(error)).rstrip(".")
    return reason[:1].lower() + reason[1:]


@contextmanager
def reading(path: Path, what: str, *more: type[Exception], cure: str) -> Iterator[None]:
    """Turn what a library raises inside into an `InputError` that names the file and the remedy.

    Parameters
    ----------
    path : Path
        What is read.
    what : str
        The format, as in "cannot be read as TIFF".
    *more : exception types
        Of the library, beside `DAMAGED` and the system's own.
    cure : str
        What to do about a damaged file.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise unreadable(path, error) from error
        raise InputError(f"{path} cannot be read as {what} ({words(error)}): {cure}") from error
    except (*DAMAGED, *more) as error:
        raise InputError(f"{path} cannot be read as {what} ({words(error)}): {cure}") from error
