"""A draft of a recipe, in which the user's settings win over planned ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.recipe import Overrides, Recipe
from rareseg_runner.preprocessing.resampling import resampled_shape


@dataclass(frozen=True)
class Plan:
    """A complete recipe and, by ``section.key``, the reason for each planned value."""

    recipe: Recipe
    reasons: Mapping[str, str]


@dataclass
class Draft:
    """A recipe in the making: what the user set wins, and says so."""

    overrides: Overrides
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def choose(self, name: str, value: Any, reason: str) -> Any:
        """Take ``value`` for ``section.key`` unless the user set one; returns what holds."""
        section, key = name.split(".")
        given = self.overrides.get(section, {})
        if key in given:
            value, reason = given[key], "set by you"
        self.values.setdefault(section, {})[key] = value
        self.reasons[name] = reason
        return value


def resampled(case: CaseFacts, draft: Draft) -> tuple[int, int, int]:
    """Return a case's shape on the planned grid."""
    target = draft.values["data"]["target_spacing"]
    return resampled_shape(case.shape, case.spacing, target or case.spacing)
