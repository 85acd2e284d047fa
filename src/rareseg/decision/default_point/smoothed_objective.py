"""Find the default point: the largest D̃·(1 − w·Ã), dice and alarms of groups, smoothed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.default_point.group_sums import GroupSums, GroupSurfaces
from rareseg.decision.point_search.criteria import Floats
from rareseg.decision.point_search.grid_search import TIE, runs_of

PRIOR_GROUPS = 0.25
"""How fast alarms gain weight with groups; small, but dice counts where every group is alarmed."""


@dataclass(frozen=True)
class GridCell:
    """A place on the surfaces: the indices of its gate, threshold and smallest component."""

    gate: int
    threshold: int
    size: int

    @property
    def index(self) -> tuple[int, int, int]:
        """The place as an index into an array (k, t, s)."""
        return self.gate, self.threshold, self.size


def alarm_weight(n_negative_groups: int) -> float:
    """Return w = n / (n + ¼): without groups that have a negative case alarms weigh nothing."""
    return n_negative_groups / (n_negative_groups + PRIOR_GROUPS)


def find_default(
    surfaces: GroupSurfaces, sums: GroupSums, *, allowed: NDArray[np.bool_] | None = None
) -> GridCell | None:
    """Return the place of the default point, from the sums over some groups.

    (t, g) = argmax D̃(t, g)·(1 − w·Ã(t, g)) among the ``allowed`` places (k, t, s). If nothing is
    found there as it stands, unsmoothed, the largest D·(1 − w·A) instead. None where nothing
    is found at any allowed place.
    """
    weight = alarm_weight(sums.n_negative)
    return find_non_empty(
        surfaces, sums, sums.value(weight, smooth=True), sums.value(weight, smooth=False), allowed
    )


def find_few_alarms(surfaces: GroupSurfaces, sums: GroupSums, most: float) -> GridCell | None:
    """Return the place of the best D̃ where at most a share ``most`` of negatives is alarmed.

    The share is A, the mean over groups, unsmoothed; without a negative case every place will do.
    None where nothing is found at such a place.
    """
    allowed = sums.alarms <= most * sums.n_negative + TIE
    smooth, plain = sums.value(0.0, smooth=True), sums.value(0.0, smooth=False)
    return find_non_empty(surfaces, sums, smooth, plain, allowed)


def find_non_empty(
    surfaces: GroupSurfaces,
    sums: GroupSums,
    smooth: Floats,
    plain: Floats,
    allowed: NDArray[np.bool_] | None,
) -> GridCell | None:
    """Return the largest smooth value, or the largest plain one where it finds nothing."""
    for value in (smooth, plain):
        cell = largest(surfaces, value, allowed)
        if cell is not None and sums.dice[cell.index] > TIE:
            return cell
    return None


def largest(
    surfaces: GroupSurfaces, value: Floats, allowed: NDArray[np.bool_] | None = None
) -> GridCell | None:
    """Return the allowed place with the largest value (k, t, s), None where none is allowed.

    Of sizes that tie the smallest is taken, of thresholds and of gates the middle of the widest
    plateau in log-odds; a gate only where it gains.
    """
    if allowed is not None:
        value = np.where(allowed, value, -np.inf)
    good = value.max() - TIE
    if good == -np.inf:
        return None
    size = int(np.argmax(value.max(axis=(0, 1)) >= good))
    over_gates = value[:, :, size].max(axis=0)
    threshold = _middle_of_widest(over_gates >= good, surfaces.threshold_odds)
    column = value[:, threshold, size] >= over_gates[threshold] - TIE
    gate = len(column) - 1
    if not column[-1]:
        gate = _middle_of_widest(column[:-1], surfaces.gate_odds[:-1])
    return GridCell(gate, threshold, size)


def _middle_of_widest(good: NDArray[np.bool_], odds: Floats) -> int:
    """Return the place nearest the middle of the widest run of True."""
    first, last = max(runs_of(good), key=lambda run: abs(odds[run[1]] - odds[run[0]]))
    middle = (odds[first] + odds[last]) / 2.0
    return int(first + np.argmin(np.abs(odds[first : last + 1] - middle)))
