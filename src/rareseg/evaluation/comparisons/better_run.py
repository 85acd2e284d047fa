"""Tell whether one run is better than another by recall, dice and alarms together.

What is gained in one measure counts where no other is lost: beyond chance, or possibly by more than
a non-inferiority margin.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rareseg.evaluation.comparisons.paired_test import PairedComparison
from rareseg.evaluation.measures.measure_table import measure_named, shown_in
from rareseg.evaluation.statistics.undefined import is_defined

Outcome = Literal["better", "worse", "trades", "cannot tell"]

WEIGHED = tuple(measure.words for measure in shown_in("summary"))
"""What is weighed whatever was asked for: dice, found and false alarms."""

_TITLES = [measure.title.lower() for measure in shown_in("summary")]

RULE = (
    f"Better: one of {', '.join(_TITLES[:-1])} and {_TITLES[-1]} beyond its interval and test, and "
    "the bad end of every other's interval within "
    + ", ".join(f"{measure.margin:g} ({measure.words})" for measure in shown_in("summary"))
    + ". Trades: better in one and worse in another."
)
"""How :func:`weigh` decides, in words."""


def gained(line: PairedComparison) -> bool:
    """Tell whether a measure became better beyond chance."""
    return line.differs and _loss(line, _change(line)) < 0


def lost(line: PairedComparison) -> bool:
    """Tell whether a measure became worse beyond chance."""
    return line.differs and not gained(line)


def weigh(lines: Iterable[PairedComparison], *, priority: str | None = None) -> Outcome:
    """Return what several measures of the same cases say together about the second run.

    Weighed are dice, found and false alarms, and the recall or the precision where that is the
    ``priority``; measures for which there is no case say nothing. "Better" needs one that gained
    beyond chance, none that lost, and of every other the bad end of its interval within its margin;
    without an interval there is no bad end, unless nothing changed in any case.
    """
    names = (*WEIGHED, priority)
    own = [line for line in lines if line.measure in names and is_defined(line.difference.value)]
    better, worse = any(map(gained, own)), any(map(lost, own))
    if worse:
        return "trades" if better else "worse"
    if better and all(gained(line) or _within_margin(line) for line in own):
        return "better"
    return "cannot tell"


def falls_short(line: PairedComparison) -> bool:
    """Tell whether a measure is worse by more than its margin, beyond chance or not."""
    margin = _margin(line)
    return margin is not None and _loss(line, _change(line)) > margin


def _within_margin(line: PairedComparison) -> bool:
    low, high, margin = line.difference.low, line.difference.high, _margin(line)
    if is_defined(low) and is_defined(high) and margin is not None:
        return max(_loss(line, low), _loss(line, high)) <= margin
    return line.unchanged


def _margin(line: PairedComparison) -> float | None:
    return measure_named(line.measure).margin


def _loss(line: PairedComparison, change: float) -> float:
    return -change if measure_named(line.measure).higher_is_better else change


def _change(line: PairedComparison) -> float:
    value = line.difference.value
    return value if is_defined(value) else 0.0
