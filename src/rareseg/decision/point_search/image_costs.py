"""Compute the cost of flagging every image or none, beside that of a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rareseg.decision.point_search.criteria import Grid, empty_counts, tally
from rareseg.decision.point_search.grid_search import TIE, PointSearch
from rareseg.decision.point_search.objectives import Goal
from rareseg.evaluation.statistics.intervals import estimate_share
from rareseg.evaluation.statistics.undefined import is_defined


@dataclass(frozen=True)
class ImageCosts:
    """Mean costs of an image: the least of any point, and where every image, or none, is flagged.

    With π the prevalence, flagging every image costs c_FP·(1 − π), flagging none c_FN·π.
    """

    least: float
    everything: float
    nothing: float

    @property
    def cheapest(self) -> Literal["everything", "nothing"] | None:
        """Which of the two costs no more than any point; None where a point is cheaper."""
        if min(self.everything, self.nothing) > self.least + TIE:
            return None
        return "everything" if self.everything < self.nothing else "nothing"


def image_costs(goal: Goal, *, share_positive: float, least: float) -> ImageCosts | None:
    """Return the costs of a goal by images, without limits; None of any other goal.

    ``share_positive`` is the prevalence where the goal names none, ``least`` the least cost found.
    """
    if goal.maximize != "cost" or goal.level != "image" or goal.limits:
        return None
    prevalence = share_positive if goal.prevalence is None else goal.prevalence
    return ImageCosts(
        least=least,
        everything=goal.cost_false_positive * (1.0 - prevalence),
        nothing=goal.cost_false_negative * prevalence,
    )


def why_refused(problem: PointSearch, cut: Grid, gate: float, prevalence: float) -> str | None:
    """Return why the images flagged at one point may be positive no more often than all are.

    That is where the lower limit of the precision s·π / (s·π + f·(1 − π)) is at most the prevalence
    π: s the lower limit of the share of positive images found, f the upper one of the share of
    negative images alarmed, each of a 95 % interval over groups, so that the limit holds with 95 %.
    None where the precision tells something, or there is no negative case.
    """
    hits: dict[bool, list[bool]] = {True: [], False: []}
    groups: dict[bool, list[str | None]] = {True: [], False: []}
    for row in problem.rows:
        passes = np.float32(row.image_score) >= np.float32(gate)
        counted = tally(row, cut) if passes else empty_counts(row)
        on = counted.tp if counted.is_positive else counted.fp
        hits[counted.is_positive].append(bool(np.ravel(on)[0] > 0))
        groups[counted.is_positive].append(row.group)
    found, alarms = (
        estimate_share(hits[of], [1] * len(hits[of]), groups[of], none="no such case")
        for of in (True, False)
    )
    if not (is_defined(found.low) and is_defined(alarms.high)) or found.low > alarms.high:
        return None
    right = found.low * prevalence
    precision = right / max(right + alarms.high * (1.0 - prevalence), TIE)
    return (
        f"of the images flagged at the cheapest point as few as {100 * precision:.3g} % may be "
        f"positive, where {100 * prevalence:.3g} % of all images are (at least "
        f"{100 * found.low:.3g} % of the positive ones are found, at most "
        f"{100 * alarms.high:.3g} % of the negative ones alarmed); label more images, or train a "
        "better model"
    )
