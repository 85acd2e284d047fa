"""Compute how many groups are to be labelled for a new guarantee, and draw them at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from rareseg.decision.guarantees.guarantee import Guarantee
from rareseg.decision.guarantees.risk_control import best_alpha, needed_groups
from rareseg.errors import DataError, UsageError

CHANCE = 0.9
"""With which the groups that are drawn hold as many as the guarantee needs."""

_MOST_DRAWN = 2**22


@dataclass(frozen=True)
class LabelPlan:
    """How many groups a guarantee takes.

    ``without_errors`` is the fewest groups that it is about where not one of them has a loss, and
    ``needed`` where their mean loss is ``expected_loss``. ``share`` of the stream's groups are ones
    that it is about; ``drawn`` groups hold ``needed`` of these with a chance of :data:`CHANCE`.
    """

    guarantee: Guarantee
    share: float
    expected_loss: float
    without_errors: int
    needed: int
    drawn: int


def plan_labels(guarantee: Guarantee, *, share: float, expected_loss: float) -> LabelPlan:
    """Return how many groups to label; 59 groups without a loss stand for 5 % at 95 %.

    Raises :class:`UsageError` where no number is enough: where the guarantee is about none of the
    groups, or where the expected loss is as large as its bound. Then the way to a safer point is
    what is left, and the number without errors counts: ``expected_loss`` 0 asks for that.
    """
    sure = {"confidence": guarantee.own_confidence, "binary": guarantee.binary}
    without = needed_groups(guarantee.alpha, **sure)  # type: ignore[arg-type]
    if without is None or share <= 0.0:
        raise UsageError(
            f"No number of groups stands for a {guarantee.kind} of {guarantee.alpha:g} where "
            f"{share:.3g} of them hold {guarantee.eligible}; ask for less."
        )
    needed = needed_groups(guarantee.alpha, mean_loss=expected_loss, **sure)  # type: ignore[arg-type]
    if needed is None:
        raise UsageError(
            f"A {guarantee.kind} of {guarantee.alpha:g} is not to be had at this point, whose own "
            f"is about {expected_loss:.3g}; ask for more than that, or choose a safer point first."
        )
    return LabelPlan(guarantee, share, expected_loss, without, needed, _drawn(needed, share))


def draw_groups(
    plan: LabelPlan, groups: Sequence[str], generator: np.random.Generator
) -> tuple[str, ...]:
    """Return groups drawn at random without replacement, in the order of the draw.

    Raises :class:`DataError` where there are fewer than the plan asks for: how many there are, and
    the best that they could stand for without an error.
    """
    if len(groups) < plan.drawn:
        eligible = int(len(groups) * plan.share)
        best = best_alpha(
            0.0,
            eligible,
            confidence=plan.guarantee.own_confidence,
            binary=plan.guarantee.binary,
        )
        raise DataError(
            f"{plan.drawn} groups are to be drawn, and the stream has {len(groups)} that were not "
            f"drawn before; watch on, or ask for no less than {min(1.0, best):.2g}, which is the "
            "best that these could stand for without an error."
        )
    chosen = generator.choice(len(groups), plan.drawn, replace=False)
    return tuple(groups[int(k)] for k in chosen)


def _drawn(needed: int, share: float) -> int:
    """Return the fewest N with P(Bin(N, share) ≥ needed) ≥ :data:`CHANCE`."""
    low, high = needed, needed
    while binom.sf(needed - 1, high, share) < CHANCE:
        low, high = high, 2 * high
        if high > _MOST_DRAWN:
            raise UsageError(
                f"So few groups ({share:.2g}) are ones that the guarantee is about that more than "
                f"{_MOST_DRAWN:,} would have to be labelled; ask for another guarantee."
            )
    while low < high:
        middle = (low + high) // 2
        if binom.sf(needed - 1, middle, share) >= CHANCE:
            high = middle
        else:
            low = middle + 1
    return high
