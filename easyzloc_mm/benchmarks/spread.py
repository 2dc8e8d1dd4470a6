"""Independent pieces of a benchmark, in this process or in several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int = 1,
    done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Return `function` of every item, in their order.

    Parameters
    ----------
    function : callable
        Of a module, where there are several processes (they are spawned); what it raises is raised here.
    items : sequence
    workers : int
        Processes; 1: this one.
    done : callable, optional
        Given how many there are, after each.
    """
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        if done is not None:
            done(len(results))

    if workers == 1:
        for item in items:
            take(function(item))
        return results
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for result in pool.map(function, items):
            take(result)
    return results
