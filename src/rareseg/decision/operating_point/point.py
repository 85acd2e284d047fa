"""Record of an operating point: a cut of scores, and how it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rareseg.data.records import Role, role_named
from rareseg.decision.default_point.point_evidence import PointEvidence
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.statistics.undefined import Undefined, Value, value_from_json, value_to_json
from rareseg_runner.decision.cut_point import CutPoint

_NOT_CHOSEN = Undefined("not chosen from scores")

_VALUES = ("value", "mean_dice", "share_clean")
"""The fields that may be undefined."""


@dataclass(frozen=True)
class OperatingPoint(CutPoint):
    """Where the scores of one region are cut, how that was chosen, and on which cases.

    ``objective`` says what was maximised and ``value`` what it reached; ``mean_dice`` (over
    ``n_positive`` cases) and ``share_clean`` (of ``n_negative`` cases) stand beside it, all on the
    cases that it was chosen on, of role ``role``; they are optimistic. ``evidence``, of a default
    point, says what it reaches on groups that were left out of the choice.

    Every threshold within ``plateau`` gives the same value there. ``edge_of_grid`` says that the
    threshold, or a plateau of equal values, touches the lowest or the highest score that occurs.
    """

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
    evidence: PointEvidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON values."""
        record = asdict(self)
        record["smallest_component"] = self.smallest_component.plain
        for name in _VALUES:
            record[name] = value_to_json(getattr(self, name))
        record["plateau"] = None if self.plateau is None else list(self.plateau)
        record["evidence"] = None if self.evidence is None else self.evidence.to_dict()
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> OperatingPoint:
        """Return the point that :meth:`to_dict` wrote, or an earlier release without evidence.

        Raises ScoreError where a field is missing, unknown or not of its kind.
        """
        known = {field.name for field in fields(cls)}
        odd_fields = {"evidence", *record} ^ known
        if odd_fields:
            odd = ", ".join(sorted(odd_fields))
            raise ScoreError(f"An operating point lacks or has unknown fields: {odd}; tune again.")
        values = dict(record)
        try:
            for name in _VALUES:
                values[name] = value_from_json(record[name])
            if record["plateau"] is not None:
                low, high = record["plateau"]
                values["plateau"] = (float(low), float(high))
            if (evidence := record.get("evidence")) is not None:
                values["evidence"] = PointEvidence.from_dict(evidence)
            if values["role"] is not None:
                values["role"] = role_named(values["role"])
            point = cls(**values)
            allowed = 0.0 <= point.threshold <= 1.0 and 0.0 <= point.gate <= 1.0
        except (TypeError, ValueError, KeyError, UsageError) as error:
            raise ScoreError(f"An operating point is damaged ({error}); tune again.") from error
        if not allowed:
            raise ScoreError(
                f"The operating point of region '{point.region}' has threshold {point.threshold} "
                f"and gate {point.gate}; both must lie in [0, 1]. Tune again."
            )
        return point


@dataclass(frozen=True)
class Infeasible:
    """There is no operating point for the region, and why.

    Where a guarantee was asked for, ``needed_groups`` is how many groups it needs at least (None:
    no number would do), and ``best_reachable`` the smallest bound that those at hand could stand
    for.
    """

    region: str
    reason: str
    needed_groups: int | None = None
    best_reachable: float | None = None


def default_point(region: str) -> OperatingPoint:
    """Return the usual cut, chosen by nobody: one half, without a gate."""
    return OperatingPoint(region=region, threshold=0.5, objective="fixed at 0.5")
