"""Is one run better than another? Found, dice and alarms are weighed together.

What is gained in one measure counts where no other is lost: beyond chance, or possibly by more than
a non-inferiority margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from rareseg.evaluation.comparison import MEASURES, PairedComparison
from rareseg.evaluation.values import is_defined

Outcome = Literal["better", "worse", "trades", "cannot tell"]

MARGINS: Mapping[str, float] = {
    "dice": 0.02,
    "found": 0.05,
    "false alarm": 0.05,
    "recall": 0.05,
    "precision": 0.05,
}
"""By how much a measure may be worse, at the bad end of its interval, where another is better."""

WEIGHED = ("dice", "found", "false alarm")
"""What is weighed whatever was asked for."""

RULE = (
    "Better: one of dice, found and false alarms beyond its interval and test, and the bad end of "
    "every other's interval within "
    + ", ".join(f"{MARGINS[name]:g} ({name})" for name in WEIGHED)
    + ". Trades: better in one and worse in another."
)
"""How :func:`weigh` decides, in words."""


def gained(line: PairedComparison) -> bool:
    """Tell whether a measure became better beyond chance."""
    return line.differs and (_change(line) > 0) == MEASURES[line.measure]


def lost(line: PairedComparison) -> bool:
    """Tell whether a measure became worse beyond chance."""
    return line.differs and not gained(line)


def weigh(lines: Iterable[PairedComparison], *, priority: str | None = None) -> Outcome:
    """Return what several measures of the same cases say together about the second run.

    Weighed are dice, found and false alarms, and the recall or the precision where that is the
    ``priority``; measures for which there is no case say nothing. "Better" needs one that gained
    beyond chance, none that lost, and of every other the bad end of its interval within its margin
    (:data:`MARGINS`); without an interval there is no bad end, unless nothing changed in any case.
    """
    names = {*WEIGHED, *({priority} & set(MARGINS))}
    own = [line for line in lines if line.measure in names and is_defined(line.difference.value)]
    better, worse = any(map(gained, own)), any(map(lost, own))
    if worse:
        return "trades" if better else "worse"
    if better and all(gained(line) or _within_margin(line) for line in own):
        return "better"
    return "cannot tell"


def falls_short(line: PairedComparison) -> bool:
    """Tell whether a measure is worse by more than its margin, beyond chance or not."""
    return line.measure in MARGINS and _loss(line, _change(line)) > MARGINS[line.measure]


def _within_margin(line: PairedComparison) -> bool:
    low, high = line.difference.low, line.difference.high
    if is_defined(low) and is_defined(high):
        return max(_loss(line, low), _loss(line, high)) <= MARGINS[line.measure]
    return line.unchanged


def _loss(line: PairedComparison, change: float) -> float:
    return -change if MEASURES[line.measure] else change


def _change(line: PairedComparison) -> float:
    value = line.difference.value
    return value if is_defined(value) else 0.0
