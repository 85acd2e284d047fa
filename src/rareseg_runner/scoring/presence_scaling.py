"""Record of how what a network says of a region in an image becomes its presence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy.special import expit

from rareseg_runner.errors import ScoreError
from rareseg_runner.scoring.log_odds import log_odds


@dataclass(frozen=True)
class PresenceScaling:
    """How what a network says of a region in an image becomes its presence, and what that rests on.

    q = σ(slope · logit(said) + bias), with slope ≥ 0, fitted on ``n_positive`` and ``n_negative``
    groups that have such an image. ``reason`` says why nothing was fitted, "" where something was.
    """

    slope: float = 1.0
    bias: float = 0.0
    n_positive: int = 0
    n_negative: int = 0
    reason: str = "not fitted"

    def apply(self, said: float) -> float:
        """Return the presence in [0, 1], rounded to float32, of what was said, in [0, 1]."""
        if self.slope == 1.0 and self.bias == 0.0:
            return float(np.float32(said))
        return float(np.float32(expit(self.slope * float(log_odds(said)) + self.bias)))

    def sentence(self, region: str) -> str:
        """Return the scaling in words."""
        if self.reason:
            return f"{region}: the presence is used as the network tells it: {self.reason}."
        return (
            f"{region}: the presence is scaled by what {self.n_positive} positive and "
            f"{self.n_negative} negative groups show (slope {self.slope:.3g}, bias "
            f"{self.bias:.3g})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> PresenceScaling:
        """Return what :meth:`to_dict` wrote; ScoreError where it is damaged."""
        if set(record) != {field.name for field in fields(cls)}:
            raise ScoreError("A presence scaling lacks or has unknown fields; train anew.")
        try:
            numbers = {name: float(record[name]) for name in ("slope", "bias")}
        except (TypeError, ValueError) as error:
            raise ScoreError(f"A presence scaling is damaged ({error}); train anew.") from error
        if not (0.0 <= numbers["slope"] < math.inf and math.isfinite(numbers["bias"])):
            raise ScoreError(
                f"A presence scaling has slope {numbers['slope']} and bias {numbers['bias']}; the "
                "first must not be negative, both must be finite. Train anew."
            )
        return cls(**{**record, **numbers})
