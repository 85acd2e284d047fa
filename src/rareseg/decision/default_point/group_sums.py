"""Sum the dice and the alarms of groups over threshold and gate, smoothed and as they stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.decision.default_point.case_curves import CaseCurves
from rareseg.decision.default_point.smoothing import log_odds, passing_share, threshold_kernel
from rareseg.decision.point_search.criteria import Floats, Ints
from rareseg.evaluation.tables.threshold_bins import bin_edges, bins_of

_MOST_GATES = 512
"""At most so many gates are tried; beyond, they lie evenly among the ordered image scores."""


@dataclass(frozen=True, eq=False)
class GroupSums:
    """Sums over groups at k gates, t thresholds and s smallest components.

    ``dice`` and ``alarms`` (k, t, s) are Σ over groups of the mean dice of their positive cases and
    of the share of their negative cases with an alarm; ``smooth_dice`` and ``smooth_alarms`` the
    same, smoothed. ``n_positive`` and ``n_negative`` groups have such cases.
    """

    dice: Floats
    alarms: Floats
    smooth_dice: Floats
    smooth_alarms: Floats
    n_positive: int
    n_negative: int

    def without(self, other: GroupSums) -> GroupSums:
        """Return the sums over the groups that are not in ``other``."""
        return GroupSums(
            self.dice - other.dice,
            self.alarms - other.alarms,
            self.smooth_dice - other.smooth_dice,
            self.smooth_alarms - other.smooth_alarms,
            self.n_positive - other.n_positive,
            self.n_negative - other.n_negative,
        )

    def value(self, alarm_weight: float, *, smooth: bool) -> Floats:
        """Return D·(1 − w·A), (k, t, s), of the means over groups; w is ``alarm_weight``."""
        dice = self.smooth_dice if smooth else self.dice
        alarms = self.smooth_alarms if smooth else self.alarms
        share = alarms / max(1, self.n_negative)
        return np.asarray(dice / max(1, self.n_positive) * (1.0 - alarm_weight * share))


@dataclass(frozen=True, eq=False)
class GroupSurfaces:
    """Everything that sums of any part of the cases are made of.

    ``gates`` (k,) descend and end with 0.0, no gate; ``gate_odds`` and ``threshold_odds`` are their
    log-odds and those of the thresholds. ``admits`` (k, n) tells which cases a gate admits,
    ``passes`` how much of the smoothed gate does; ``smooth`` (n, t, s) are the curves, smoothed
    over the threshold.
    """

    curves: CaseCurves
    gates: Floats
    gate_odds: Floats
    threshold_odds: Floats
    admits: NDArray[np.bool_]
    passes: Floats
    smooth: Floats

    def sums(self, cases: NDArray[np.bool_]) -> GroupSums:
        """Return the sums over the groups of ``cases`` (n,), which must be whole groups."""
        curves = self.curves
        parts = []
        for of in (curves.positive, ~curves.positive):
            for shown, weights in ((curves.shown, self.admits), (self.smooth, self.passes)):
                those = np.flatnonzero(cases & of)
                terms = curves.share[those, np.newaxis, np.newaxis] * shown[those]
                parts.append(np.tensordot(weights[:, those].astype(np.float64), terms, axes=1))
        dice, smooth_dice, alarms, smooth_alarms = parts
        n_positive, n_negative = (
            len(np.unique(curves.groups[cases & of])) for of in (curves.positive, ~curves.positive)
        )
        return GroupSums(dice, alarms, smooth_dice, smooth_alarms, n_positive, n_negative)


def surfaces_of(curves: CaseCurves, width: float) -> GroupSurfaces:
    """Return what sums are made of, smoothed by a Gaussian of ``width`` in log-odds.

    No gate is a row of its own, which is smoothed over the threshold alone.
    """
    gates = gates_between(curves.image_scores)
    gate_odds, image_odds = log_odds(gates), log_odds(curves.image_scores)
    threshold_odds = log_odds(bin_edges()[curves.grid.bins])
    # In float32, as masks are cut: in float64 a gate could fall on the other side of a score.
    admits = curves.image_scores >= gates.astype(np.float32)[:, np.newaxis]
    passes = admits.astype(np.float64)
    if width > 0.0:
        # The last row is no gate, at which every case passes whole.
        passes[:-1] = passing_share(image_odds, gate_odds[:-1], width)
    kernel = threshold_kernel(threshold_odds, width)
    smooth = np.einsum("ab,nbs->nas", kernel, curves.shown, optimize=True)
    return GroupSurfaces(curves, gates, gate_odds, threshold_odds, admits, passes, smooth)


def gates_between(image_scores: NDArray[np.float32]) -> Floats:
    """Return the gates halfway between neighbouring image scores, descending, then 0.0.

    Halfway is counted in bins. ``image_scores`` (n,) descend. Of more than 512 gates, such as lie
    evenly among the cases are taken.
    """
    last_of_ties: Ints = np.flatnonzero(np.diff(image_scores))
    if len(last_of_ties) > _MOST_GATES:
        steps = np.linspace(0, len(last_of_ties) - 1, _MOST_GATES).round().astype(np.int64)
        last_of_ties = last_of_ties[np.unique(steps)]
    reached, above = image_scores[last_of_ties], image_scores[last_of_ties + 1]
    high, low = bins_of(reached), bins_of(above)
    # Edges low + 1 … high lie between the two scores; any of them admits the same cases.
    middle = bin_edges()[(low + 1 + high) // 2]
    gates = np.where(low == high, reached, middle).astype(np.float64)
    return np.append(gates, 0.0)
