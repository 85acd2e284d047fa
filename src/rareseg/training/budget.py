"""Compute how many training steps fit into a time, from measured steps."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from rareseg.errors import UsageError

WARM_UP = 3
"""Steps that are made before the clock is read: compilation, caches, allocators."""

MEASURED_SECONDS = 8.0
FEWEST = 5
"""Time and number of calls that are measured at least."""

RESERVE = 0.08
"""Share of the budget kept for what is not measured: reading, writing, the report."""


@dataclass(frozen=True)
class Budget:
    """What was measured, and the number of steps that follows from it."""

    seconds: float
    step_seconds: float
    case_seconds: float
    steps: int

    @property
    def reason(self) -> str:
        """The sentence that stands beside ``training.steps`` in the recipe."""
        return (
            f"fits into {self.seconds / 60:.3g} min on this machine: {self.step_seconds:.3f} s a "
            f"step and {self.case_seconds:.3f} s to score a case, measured once"
        )


def parse_duration(text: str) -> float:
    """Return the seconds of ``"20min"``, ``"90s"``, ``"1.5h"``; raises :class:`UsageError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h)\s*", text)
    if match is None or float(match.group(1)) <= 0:
        raise UsageError(f"--budget {text!r} is no duration; write it like 20min, 90s or 1.5h.")
    unit = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match.group(2)]
    return float(match.group(1)) * unit


def seconds_per_call(
    call: Callable[[int], object], *, agree: Callable[[bool], bool] = bool
) -> float:
    """Return the seconds that ``call(k)`` takes, the median over calls after a warm-up.

    The median, since a neighbour on the machine delays single calls and never hurries one.
    ``agree`` gives all processes the first one's answer, so that they make the same calls.
    """
    for number in range(WARM_UP):
        call(number)
    durations: list[float] = []
    while agree(len(durations) < FEWEST or sum(durations) < MEASURED_SECONDS):
        started = time.perf_counter()
        call(WARM_UP + len(durations))
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def plan_steps(
    seconds: float,
    *,
    step_seconds: float,
    case_seconds: float,
    cases_to_score: int,
    gone: float = 0.0,
) -> Budget:
    """Return how many steps fit into ``seconds`` beside scoring ``cases_to_score`` cases.

    ``gone`` seconds of them have passed already. Raises :class:`UsageError` where not even 20
    steps fit.
    """
    beside = gone + case_seconds * cases_to_score
    left = seconds * (1 - RESERVE) - beside
    steps = int(left / step_seconds)
    if steps < 20:
        needed = (20 * step_seconds + beside) / (1 - RESERVE)
        raise UsageError(
            f"--budget {seconds:.0f}s leaves time for {max(0, steps)} steps beside scoring; "
            f"give at least {needed / 60:.1f}min, or a smaller sampling.patch_size or "
            "network.width."
        )
    return Budget(seconds, step_seconds, case_seconds, steps)
