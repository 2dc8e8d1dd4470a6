"""Every reader on damaged files: a result, or one sentence; never a traceback, a hang, or a gigabyte."""

from __future__ import annotations

import queue
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.mutate import damage
from tests.fuzz.seeds import Seed, write_seeds
from tests.helpers.paths import ROOT

LIMIT_MB = 1024
PATIENCE_S = 120.0
"""No reader needs a second for such a file; a machine that is busy may."""


class Victim:
    """The process that reads; another one is started where it dies, hangs or has taken too much."""

    def __init__(self, seeds: list[Seed]) -> None:
        self._seeds = seeds
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.victim"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True).start()
        for seed in self._seeds:
            for reader in seed.readers:
                what, _, word = self.ask(reader, seed.path)
                assert what == "result", f"{reader} {seed.path.name}: {word}"
        assert self.ask("begin", Path())[0] == "begun"

    @staticmethod
    def _listen(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answers.put(line.rstrip("\n"))
        answers.put("died\t0\t")

    def ask(self, reader: str, path: Path) -> tuple[str, int, str]:
        """Return the outcome, the memory (MB) that was taken, and a word on it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{reader}\t{path}\n")
        self._process.stdin.flush()
        try:
            what, taken, word = self._answers.get(timeout=PATIENCE_S).split("\t", 2)
        except queue.Empty:
            return "hung", 0, ""
        return what, int(taken), word

    def again(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return write_seeds(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def victim(seeds: list[Seed]) -> Iterator[Victim]:
    process = Victim(seeds)
    yield process
    process.close()


def faults_of(seeds: list[Seed], victim: Victim, folder: Path, numbers: range) -> tuple[Counter[str], list[str]]:
    """Damage one whole file for each number, read it with each of its readers, and return outcomes and faults."""
    counted: Counter[str] = Counter()
    faults: list[str] = []
    for number in numbers:
        random = np.random.default_rng(number)
        seed, other = seeds[number % len(seeds)], seeds[int(random.integers(len(seeds)))]
        place = folder / str(number)
        place.mkdir()
        target = place / seed.path.name
        (shutil.copytree if seed.path.is_dir() else shutil.copy)(seed.path, target)
        partners = [Path(shutil.copy(path, place)) for path in seed.beside]
        chosen = partners[0] if partners and random.random() < 0.3 else target
        done = damage(chosen, random, other.path)
        reader = seed.readers[int(random.integers(len(seed.readers)))]
        what, taken, word = victim.ask(reader, target)
        counted[what] += 1
        if what not in ("result", "refused") or taken > LIMIT_MB:
            faults.append(f"{number}: {reader} of {done} in {seed.path.name}: {what}, {taken} MB, {word}")
            victim.again()
        shutil.rmtree(place)
    return counted, faults


def test_some_damaged_files(seeds: list[Seed], victim: Victim, tmp_path: Path) -> None:
    counted, faults = faults_of(seeds, victim, tmp_path, range(300))
    assert faults == []
    assert counted["result"] > 0
    assert counted["refused"] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_thousand_damaged_files(seeds: list[Seed], victim: Victim, tmp_path: Path) -> None:
    """Run as ``python -m pytest tests/fuzz -m slow -n 0 -s``; docs/reliability.md has its figures."""
    counted, faults = faults_of(seeds, victim, tmp_path, range(1000, 6000))
    print(dict(counted))
    assert faults == []
