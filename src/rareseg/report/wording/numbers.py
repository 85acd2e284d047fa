"""Format numbers for people: per cent, intervals, counts with nouns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rareseg.evaluation.measures.measure import Unit
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.statistics.undefined import Undefined, Value

Form = Callable[[float], str]

_LEAST = 0.001
"""Per cents that differ by less from 0 or from 100 need no more digits."""


def percent(share: float, *, digits: int | None = None) -> str:
    """Return a share in [0, 1] as ``12 %``, with more digits near 0 and 1: ``4.3 %``, ``99.7 %``.

    A share that is not quite 0 or 1 is never rounded to 0 % or 100 %: beyond 0.001 % and 99.999 %
    it says so. ``digits`` sets the decimals.
    """
    value = 100.0 * share
    if digits is not None:
        return f"{value:.{digits}f} %"
    if 1e-9 <= min(value, 100.0 - value) < _LEAST:
        return f"<{_LEAST} %" if value < 50.0 else f">{100.0 - _LEAST} %"
    return f"{value:.{percent_digits(share)}f}".removesuffix(".0") + " %"


def percent_digits(share: float) -> int:
    """Return how many decimals :func:`percent` gives a share."""
    value = 100.0 * share
    distance = min(value, 100.0 - value)
    if distance < 1e-9 or (value >= 9.95 and distance >= 0.95):
        return 0
    if distance >= 0.095:
        return 2 if value < 0.95 else 1
    return -math.floor(math.log10(distance))


def object_noun(size_unit: str) -> str:
    """Return what sentences call an object: "lesion" in volumes, whose sizes are in mm³."""
    return "lesion" if size_unit == "mm³" else "object"


def score(value: float) -> str:
    """Return a metric in [0, 1] with two digits."""
    return f"{value:.2f}"


def difference(value: float) -> str:
    """Return a difference of metrics with its sign and two digits."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def threshold(value: float) -> str:
    """Return a threshold in [0, 1] with the digits that keep it apart from 0 and from 1."""
    distance = min(value, 1.0 - value)
    if distance <= 0 or value == 0.5:
        return f"{value:g}"
    return f"{value:.{max(3, 1 - math.floor(math.log10(distance)))}f}"


def quantity(value: float) -> str:
    """Return a non-negative mean with about three digits, large ones with commas."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    digits = 1 if value >= 10 else 2 if value >= 0.01 else 1 - math.floor(math.log10(value))
    return f"{value:.{digits}f}"


def size(value: float) -> str:
    """Return a size, which is often whole, with no more digits than it needs."""
    return quantity(value) if value >= 100 else f"{value:.3g}"


FORMS: Mapping[Unit, Form] = {
    "score": score,
    "share": percent,
    "size": quantity,
    "count": quantity,
    "mm": quantity,
    "ml": quantity,
}
"""How the numbers of each unit are read."""


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 case`` or ``1,234 cases``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def interval(low: Value, high: Value, form: Form = score) -> str:
    """Return ``0.75–0.86``, ``1–17 %`` or ``−0.02 to +0.10``, or why there is none."""
    if isinstance(low, Undefined):
        return low.reason
    if isinstance(high, Undefined):
        return high.reason
    first, second = form(low), form(high)
    if form is difference:
        return f"{first} to {second}"
    if second.endswith(" %"):
        first = first.removesuffix(" %")
    return f"{first}–{second}"


def with_interval(estimate: Estimate, form: Form = score) -> str:
    """Return ``0.81 (0.75–0.86)``, or what is undefined and why."""
    if isinstance(estimate.value, Undefined):
        return str(estimate.value)
    return f"{form(estimate.value)} ({interval(estimate.low, estimate.high, form)})"
