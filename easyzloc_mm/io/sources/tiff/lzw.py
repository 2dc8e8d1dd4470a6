"""LZW as TIFF writes it, for pages in strips: tifffile has no decoder, and others speak to standard error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from easyzloc_mm.numerics.kernel import kernel

CLEAR, END, FIRST, MOST = 256, 257, 258, 4096
HORIZONTAL = 2
"""Predictor by which each pixel is stored as its difference to the one on its left."""


def decode_lzw(page: Any) -> NDArray[Any]:
    """Decode an open `tifffile.TiffPage` in strips.

    Returns
    -------
    ndarray, shape (height, width)
        In the byte order of the file.

    Raises
    ------
    ValueError
        A strip is damaged, or the predictor is none that is known.
    """
    image = np.zeros((page.imagelength, page.imagewidth), page.dtype.newbyteorder(page.parent.tiff.byteorder))
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    strips = page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts, sort=False)
    for number, (strip, _) in enumerate(strips):
        part = image[number * rows : (number + 1) * rows]
        out = np.zeros(part.nbytes, np.uint8)
        data = np.frombuffer((strip or b"") + bytes(3), np.uint8)
        if _decode(data, len(data) - 3, out) != len(out):
            raise ValueError(f"strip {number + 1} is damaged")
        part[:] = out.view(image.dtype).reshape(part.shape)
    if page.predictor == HORIZONTAL:
        return np.cumsum(image, axis=1, dtype=page.dtype)
    if page.predictor not in (0, 1):
        raise ValueError(f"predictor {page.predictor} is not known")
    return image


@kernel()
def _decode(data, size, out):  # type: ignore[no-untyped-def]
    """Decode `size` bytes of `data`, behind which three more lie; return how many bytes were written, -1 if damaged.

    Codes are 9 to 12 bits, the first bit of a byte first, and grow one code early.
    """
    prefix = np.zeros(MOST, np.int32)
    suffix = np.zeros(MOST, np.uint8)
    length = np.zeros(MOST, np.int32)
    for value in range(256):
        suffix[value], length[value] = value, 1
    known, width, previous, bit, at = FIRST, 9, np.int64(-1), 0, 0
    while bit + width <= 8 * size:
        byte = bit >> 3
        window = (np.int64(data[byte]) << 16) | (np.int64(data[byte + 1]) << 8) | np.int64(data[byte + 2])
        code = (window >> (24 - width - (bit & 7))) & ((1 << width) - 1)
        bit += width
        if code == END:
            break
        if code == CLEAR:
            known, width, previous = FIRST, 9, np.int64(-1)
            continue
        fresh = code == known and previous >= 0
        if not fresh and (code >= known or (previous < 0 and code >= CLEAR)):
            return -1
        count = length[previous] + 1 if fresh else length[code]
        if at + count > len(out):
            return -1
        source = previous if fresh else code
        for place in range(at + count - (2 if fresh else 1), at - 1, -1):
            out[place] = suffix[source]
            source = prefix[source]
        if fresh:
            out[at + count - 1] = out[at]
        if previous >= 0 and known < MOST:
            prefix[known], suffix[known], length[known] = previous, out[at], length[previous] + 1
            known += 1
            width = 9 if known < 511 else 10 if known < 1023 else 11 if known < 2047 else 12
        at += count
        previous = code
    return at
