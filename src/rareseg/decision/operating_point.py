"""Where to cut: the threshold and the image-level gate of a region, and how they become a mask.

:func:`choose_operating_point` reads score tables only, :func:`apply_point` is the one place in the
package where a score is compared with a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.components import remove_small
from rareseg.data.records import Role
from rareseg.errors import ScoreError, UsageError, nearest
from rareseg.evaluation.bins import N_BINS, bin_edges, bin_of, middle_edge
from rareseg.evaluation.intervals import count_groups
from rareseg.evaluation.metrics import cumulative, occurring_bins
from rareseg.evaluation.scores import CaseScores, ScoreTable
from rareseg.evaluation.values import (
    Undefined,
    Value,
    is_defined,
    ratio,
    value_from_json,
    value_to_json,
)

Floats = NDArray[np.float64]

_NOT_CHOSEN = Undefined("not chosen from scores")

OBJECTIVES = ("dice",)
"""What :func:`choose_operating_point` can maximise."""

SILENCE = 0.5
"""What predicting nothing anywhere reaches where there are negative cases."""

SILENCE_MARGIN = 0.01

_TIE = 1e-9
"""Objective values that differ by less are equal."""


@dataclass(frozen=True)
class OperatingPoint:
    """How the scores of one region become a mask, how that was chosen, and on which cases.

    A voxel is on where its score is at or above ``threshold``; components of fewer than
    ``smallest_component`` voxels are removed; nothing is on where the case's largest score is
    below ``gate``. ``objective`` says what was maximised, ``value`` what it reached, and
    ``mean_dice`` (over ``n_positive`` cases) and ``share_clean`` (of ``n_negative`` cases) are its
    two terms, all on the cases that it was chosen on, of role ``role``. Every threshold within
    ``plateau`` gives the same value there. ``edge_of_grid`` says that the plateau touches the
    lowest or the highest score that occurs.
    """

    region: str
    threshold: float
    gate: float = 0.0
    smallest_component: int = 0
    objective: str = "none"
    value: Value = _NOT_CHOSEN
    mean_dice: Value = _NOT_CHOSEN
    share_clean: Value = _NOT_CHOSEN
    plateau: tuple[float, float] | None = None
    role: Role | None = None
    n_positive: int = 0
    n_negative: int = 0
    n_groups: int = 0
    assumes_independent_images: bool = False
    edge_of_grid: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON values."""
        record = asdict(self)
        for name in ("value", "mean_dice", "share_clean"):
            record[name] = value_to_json(getattr(self, name))
        record["plateau"] = None if self.plateau is None else list(self.plateau)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> OperatingPoint:
        """Return the point that :meth:`to_dict` wrote.

        Raises ScoreError where a field is missing, unknown or not of its kind.
        """
        known = {field.name for field in fields(cls)}
        if set(record) != known:
            odd = ", ".join(sorted(set(record) ^ known))
            raise ScoreError(f"An operating point lacks or has unknown fields: {odd}; tune again.")
        values = dict(record)
        try:
            for name in ("value", "mean_dice", "share_clean"):
                values[name] = value_from_json(record[name])
            if record["plateau"] is not None:
                low, high = record["plateau"]
                values["plateau"] = (float(low), float(high))
            point = cls(**values)
            allowed = 0.0 <= point.threshold <= 1.0 and 0.0 <= point.gate <= 1.0
        except (TypeError, ValueError, KeyError) as error:
            raise ScoreError(f"An operating point is damaged ({error}); tune again.") from error
        if not allowed or point.smallest_component < 0:
            raise ScoreError(
                f"The operating point of region '{point.region}' has threshold {point.threshold}, "
                f"gate {point.gate} and smallest component {point.smallest_component}; the first "
                "two must lie in [0, 1], the last must not be negative. Tune again."
            )
        return point


@dataclass(frozen=True)
class Infeasible:
    """There is no operating point for the region, and why."""

    region: str
    reason: str


def default_point(region: str) -> OperatingPoint:
    """Return the usual cut, chosen by nobody: one half, without a gate."""
    return OperatingPoint(region=region, threshold=0.5, objective="fixed at 0.5")


def apply_point(scores: NDArray[np.float32], point: OperatingPoint) -> NDArray[np.bool_]:
    """Return the mask of a region's scores at an operating point.

    ``scores`` is (Z, Y, X) or (Y, X) float32 in [0, 1]; the mask is bool of the same shape. An
    empty array gives an empty mask. Raises ScoreError where a score is NaN or above 1.
    """
    scores = np.asarray(scores, np.float32)
    top = float(scores.max(initial=0.0))
    if not top <= 1.0:
        raise ScoreError(
            f"Scores of region '{point.region}' reach {top}; they must be probabilities in [0, 1]."
        )
    if top < np.float32(point.gate):
        return np.zeros(scores.shape, np.bool_)
    return remove_small(scores >= np.float32(point.threshold), point.smallest_component)


def choose_operating_point(
    table: ScoreTable, *, region: str, maximize: str = "dice"
) -> OperatingPoint | Infeasible:
    """Return the threshold and the gate that are best together on the cases of ``table``.

    The objective "dice" is ½·(mean dice over positive cases + share of negative cases left
    clean), or the first mean alone where there is no negative case. Cases weigh equally, and a
    positive case that the gate removes has dice 0. A negative case is left clean where none of
    its voxels is on. Searched are every bin that occurs × every gate between two neighbouring top
    scores, jointly, in memory that does not grow with the number of cases.

    Where nothing beats predicting nothing by :data:`SILENCE_MARGIN`, the threshold lies above all
    scores that occur and there is no gate: only a case that scores higher than any of these shows.
    Ties go to the middle of the widest plateau, counted in bins, as the choice that small changes
    of the scores move least. A gate is set only where it gains something.

    Infeasible where no case holds the region. Raises UsageError where the region is not in the
    table, the objective is unknown, or the cases have several roles (choosing on test cases must
    be meant: ``table.select(roles=["select"])``).
    """
    if maximize not in OBJECTIVES:
        raise UsageError(
            f"The objective '{maximize}' is not known{nearest(maximize, OBJECTIVES)}; "
            f"allowed: {', '.join(OBJECTIVES)}."
        )
    rows = [row for row in table.select(region=region).rows if row.n_voxels > 0]
    role = _only_role(rows, region)
    n_positive = sum(row.n_inside > 0 for row in rows)
    if n_positive == 0:
        return Infeasible(
            region,
            f"none of the {len(rows)} cases holds the region '{region}'; a threshold needs at "
            "least one positive case",
        )
    # The gate admits the first m of them: those whose top score reaches it.
    rows.sort(key=lambda row: (-row.top, row.case_id))
    bins = occurring_bins(rows)
    low, high, at_edge = _widest_plateau(bins, _best_over_gates(rows, bins))
    threshold = middle_edge(low, high)
    gate = _choose_gate(rows, bin_of(threshold))
    dice, clean = _terms(rows, threshold, gate)
    above = int(bins[-1]) + 1  # there is none above a score of exactly 1
    silent = is_defined(clean) and (dice + clean) / 2.0 < SILENCE + SILENCE_MARGIN
    if silent and above < N_BINS:
        # What wins by so little is an accident: a gate that one case passes, and fills.
        low = high = above
        threshold, gate, at_edge = float(bin_edges()[above]), 0.0, True
        dice, clean = _terms(rows, threshold, gate)
    groups = [row.group for row in rows]
    return OperatingPoint(
        region=region,
        threshold=threshold,
        gate=gate,
        objective=maximize,
        value=dice if isinstance(clean, Undefined) else (dice + clean) / 2.0,
        mean_dice=dice,
        share_clean=clean,
        plateau=(float(bin_edges()[low]), float(bin_edges()[high])),
        role=role,
        n_positive=n_positive,
        n_negative=len(rows) - n_positive,
        n_groups=count_groups(groups),
        assumes_independent_images=None in groups,
        edge_of_grid=at_edge,
    )


def _only_role(rows: Sequence[CaseScores], region: str) -> Role | None:
    """Return the role that all rows share."""
    roles = {row.role for row in rows}
    if len(roles) > 1:
        names = ", ".join(sorted(str(role) for role in roles))
        raise UsageError(
            f"The cases of region '{region}' have the roles {names}; choose on one role, such as "
            'table.select(roles=["select"]).'
        )
    return next(iter(roles), None)


def _outcome(row: CaseScores, bins: NDArray[np.int64]) -> Floats:
    """Return what an admitted case gives at every bin: its dice, or for a negative 1 if alarmed."""
    if row.n_inside == 0:
        return (row.top_bin >= bins).astype(np.float64)
    tp, fp = cumulative(row, bins)
    return np.asarray(2.0 * tp / (tp + fp + row.n_inside))


def _gains(rows: Sequence[CaseScores]) -> list[float]:
    """Return what each case's outcome is worth to the objective: dice adds, an alarm subtracts."""
    n_positive = sum(row.n_inside > 0 for row in rows)
    n_negative = len(rows) - n_positive
    if n_negative == 0:
        return [1.0 / n_positive] * len(rows)
    return [0.5 / n_positive if row.n_inside else -0.5 / n_negative for row in rows]


def _ends_of_ties(rows: Sequence[CaseScores]) -> NDArray[np.bool_]:
    """Tell for each row, in descending order of top, whether a gate can lie just behind it."""
    tops = np.array([row.top for row in rows])
    return np.append(tops[:-1] != tops[1:], True)


def _best_over_gates(rows: Sequence[CaseScores], bins: NDArray[np.int64]) -> Floats:
    """Return the best objective over all gates at every bin, up to a constant; (k,).

    Admitting one more case adds its gain to a running total, so that the totals of all gates pass
    by in n steps of k additions.
    """
    total = np.zeros(len(bins))
    best = np.full(len(bins), -np.inf)
    for row, gain, ends in zip(rows, _gains(rows), _ends_of_ties(rows), strict=True):
        total += gain * _outcome(row, bins)
        if ends:
            np.maximum(best, total, out=best)
    return best


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, last) of every run of True."""
    padded = np.concatenate([[False], flags, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(changes[::2], changes[1::2], strict=True)]


def _widest_plateau(bins: NDArray[np.int64], best: Floats) -> tuple[int, int, bool]:
    """Return (lowest bin, highest bin, whether it touches the ends of what occurs).

    Between two bins that occur every edge gives the same masks, so a plateau begins just above
    the occurring bin below it.
    """
    above = np.concatenate([[0], bins[:-1] + 1])
    runs = _runs(best >= best.max() - _TIE)
    first, last = max(runs, key=lambda run: bins[run[1]] - above[run[0]])
    return int(above[first]), int(bins[last]), first == 0 or last == len(bins) - 1


def _choose_gate(rows: Sequence[CaseScores], threshold_bin: int) -> float:
    """Return the best gate at a threshold: 0 where none gains anything, else mid-plateau."""
    at = np.array([threshold_bin])
    outcomes = np.array([_outcome(row, at)[0] for row in rows])
    totals = np.cumsum(outcomes * np.array(_gains(rows)))
    behind = np.flatnonzero(_ends_of_ties(rows))
    good = totals[behind] >= totals[behind].max() - _TIE
    if good[-1]:
        return 0.0

    def span(run: tuple[int, int]) -> tuple[float, float]:
        """The gates of a run lie above the first top score and at or below the second."""
        return rows[behind[run[1]] + 1].top, rows[behind[run[0]]].top

    def width(run: tuple[int, int]) -> int:
        below, reached = span(run)
        return bin_of(reached) - bin_of(below)

    below, reached = span(max(_runs(good), key=width))
    if bin_of(below) == bin_of(reached):
        return reached
    return middle_edge(bin_of(below) + 1, bin_of(reached))


def _terms(rows: Sequence[CaseScores], threshold: float, gate: float) -> tuple[float, Value]:
    """Return (mean dice over positives, share of negatives left clean) at a point."""
    at = np.array([bin_of(threshold)])
    positives: list[float] = []
    negatives: list[float] = []
    for row in rows:
        outcome = float(_outcome(row, at)[0]) if row.top >= gate else 0.0
        (positives if row.n_inside else negatives).append(outcome)
    clean = ratio(
        len(negatives) - sum(negatives), len(negatives), undefined="no negative case to choose on"
    )
    return sum(positives) / len(positives), clean
