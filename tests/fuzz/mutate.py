"""Damage to files: cut, flipped, overwritten, with wrong sizes and others' headings, or empty."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Random = np.random.Generator
EXTREMES = (0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1)
WORDS = (b"0", b"-1", b"1e999", b"nan", b"99999999999999999999", b"4294967296", b"2147483647", b"", b"abc", b"null",
         b"1e-320", b"[]", b'"x"', b"1,5")  # fmt: skip
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def _place(data: bytes, random: Random, length: int = 1) -> int:
    return int(random.integers(0, max(1, len(data) - length + 1)))


def cut(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def cut_front(data: bytes, random: Random) -> bytes:
    return data[_place(data, random) :]


def flip(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(int(random.integers(1, 17)) if out else 0):
        out[_place(data, random)] ^= 1 << int(random.integers(8))
    return bytes(out)


def overwrite(data: bytes, random: Random) -> bytes:
    start, length = _place(data, random), int(random.integers(1, 65))
    kind = int(random.integers(3))
    block = random.bytes(length) if kind == 0 else bytes([0 if kind == 1 else 255]) * length
    return data[:start] + block + data[start + length :]


def insert(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + random.bytes(int(random.integers(1, 33))) + data[start:]


def remove(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + data[start + int(random.integers(1, 257)) :]


def repeat(data: bytes, random: Random) -> bytes:
    start, length = _place(data, random), int(random.integers(1, 257))
    return data[:start] + data[start : start + length] * int(random.integers(2, 9)) + data[start + length :]


def wrong_size(data: bytes, random: Random) -> bytes:
    """Set a number of 2, 4 or 8 bytes, mostly near the beginning, to one that is too large, too small or negative."""
    width = int(random.choice([2, 4, 8]))
    reach = len(data) if random.random() < 0.5 else min(len(data), 512)
    start = int(random.integers(0, max(1, reach - width + 1)))
    value = int(random.choice(np.array(EXTREMES, object))) & (2 ** (8 * width) - 1)
    number = value.to_bytes(width, "little" if random.random() < 0.5 else "big")
    return b"".join([data[:start], number, data[start + width :]])


def wrong_number(data: bytes, random: Random) -> bytes:
    """Replace a number that is written out."""
    found = list(NUMBER.finditer(data[: 1 << 16]))
    if not found:
        return wrong_size(data, random)
    chosen = found[int(random.integers(len(found)))]
    return data[: chosen.start()] + WORDS[int(random.integers(len(WORDS)))] + data[chosen.end() :]


def other_head(data: bytes, random: Random, other: bytes = b"") -> bytes:
    length = int(random.choice([4, 16, 64, 512]))
    return other[:length] + data[length:]


def empty(_data: bytes, _random: Random) -> bytes:
    return b""


DAMAGES: Sequence[Callable[[bytes, Random], bytes]] = (
    cut, cut, cut_front, flip, flip, overwrite, insert, remove, repeat, wrong_size, wrong_size, wrong_number,
    wrong_number, other_head, empty,
)  # fmt: skip


def damage(target: Path, random: Random, other: Path) -> str:
    """Damage a file, or one file of a folder, in place; return what was done.

    Parameters
    ----------
    target : Path
    random : Generator
    other : Path
        A file of another kind, whose head may take the place of this one's.
    """
    files = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
    if target.is_dir():
        stated = [path for path in files if path.suffix in (".json", ".idx", ".index")] or files
        pool = stated if random.random() < 0.5 else files
        victim = pool[int(random.integers(len(pool)))]
        if random.random() < 0.1:
            victim.unlink()
            return f"{victim.name} removed"
        if random.random() < 0.05:
            shutil.rmtree(victim.parent) if victim.parent != target else victim.unlink()
            return f"{victim.parent.name} removed"
    else:
        victim = target
    chosen = DAMAGES[int(random.integers(len(DAMAGES)))]
    data = victim.read_bytes()
    if chosen is other_head:
        changed = other_head(data, random, other.read_bytes()[:512] if other.is_file() else b"PK\x03\x04")
    else:
        changed = chosen(data, random)
    victim.write_bytes(changed)
    return f"{victim.name}: {chosen.__name__}"
