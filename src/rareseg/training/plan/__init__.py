"""The plan: what is in the data goes in, a complete recipe with a reason for each choice comes out.

The rules are few and stated where they stand. What the user sets is taken as given, and the
choices that depend on it follow it. May import prediction, the data and the recipe.
"""

from __future__ import annotations

from rareseg.data.fingerprint import Fingerprint
from rareseg.recipe import Overrides, check_values, make_recipe
from rareseg.training.plan.draft import Draft, Plan
from rareseg.training.plan.grid import make_preprocessing, plan_dimension, plan_grid
from rareseg.training.plan.learning import plan_learning, plan_mining, plan_strategy
from rareseg.training.plan.network import plan_network
from rareseg.training.plan.windows import plan_windows

__all__ = ["Plan", "make_preprocessing", "plan_recipe"]


def plan_recipe(fingerprint: Fingerprint, overrides: Overrides | None = None) -> Plan:
    """Return the recipe for a data set, with ``overrides`` (``{section: {key: value}}``) kept.

    Raises :class:`RecipeError` where an override is unknown or impossible, alone or together with
    the others.
    """
    overrides = overrides or {}
    check_values(overrides)
    draft = Draft(overrides)
    dimension = plan_dimension(draft, fingerprint)
    plan_network(draft, dimension)
    plan_grid(draft, fingerprint)
    plan_windows(draft, fingerprint, dimension)
    plan_strategy(draft, fingerprint)
    plan_mining(draft, fingerprint)
    plan_learning(draft, fingerprint, dimension)
    for section, values in overrides.items():
        for key, value in values.items():
            draft.choose(f"{section}.{key}", value, "set by you")
    return Plan(make_recipe(draft.values), draft.reasons)
