"""Prefetch batches in a background thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(make: Callable[[int], T], numbers: Iterable[int], ahead: int) -> Iterator[T]:
    """Yield ``make(number)`` in order, up to ``ahead`` of them made in one thread before they are
    asked for; 0: none.

    The thread ends with the iterator, wherever that is left.
    """  # noqa: D205 - one sentence, longer than a line
    if ahead == 0:
        yield from map(make, numbers)
        return
    executor = ThreadPoolExecutor(1, thread_name_prefix="patch-sampler")
    waiting: deque[Future[T]] = deque()
    left = iter(numbers)
    try:
        while True:
            for number in left:
                waiting.append(executor.submit(make, number))
                if len(waiting) == ahead:
                    break
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
