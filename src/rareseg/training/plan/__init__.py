"""The plan: what is in the data goes in, a complete recipe with a reason for each choice comes out.

The rules are few and stated where they stand. What the user sets is taken as given, and the
choices that depend on it follow it. Values are checked against what is registered, which importing
this package does for all networks, losses and strategies of rareseg. May import prediction,
sampling, the losses, the data and the recipe.
"""

from __future__ import annotations

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.recipe import Overrides, Recipe, SamplingSection, check_values, make_recipe
from rareseg.sampling.strategies.builtin import require_shares
from rareseg.sampling.strategies.strategy import find_phases
from rareseg.training.losses import make_loss
from rareseg.training.plan.plan_grid import make_preprocessing, plan_dimension, plan_grid
from rareseg.training.plan.plan_learning import (
    plan_folds,
    plan_learning,
    plan_mining,
    plan_strategy,
)
from rareseg.training.plan.plan_network import plan_network
from rareseg.training.plan.plan_split import plan_split
from rareseg.training.plan.plan_windows import plan_windows
from rareseg.training.plan.recipe_draft import Draft, Plan
from rareseg.training.plan.small_objects import small_objects_sentence
from rareseg_runner.image_records import Classes

__all__ = ["Plan", "check_overrides", "make_preprocessing", "plan_recipe"]


def check_overrides(overrides: Overrides, source: str = "recipe") -> None:
    """Check what the user sets as far as that needs no data: keys, values, and registered names.

    Raises :class:`RecipeError`, whose sentences about keys and values name ``source``.
    """
    check_values(overrides, source)
    find_phases(SamplingSection.model_validate(overrides.get("sampling", {})))


def plan_recipe(fingerprint: Fingerprint, overrides: Overrides | None = None) -> Plan:
    """Return the recipe for a data set, with ``overrides`` (``{section: {key: value}}``) kept.

    Raises :class:`RecipeError` where an override is unknown or impossible, alone, together with
    the others or for the classes of the data.
    """
    overrides = overrides or {}
    check_overrides(overrides)
    draft = Draft(overrides)
    dimension = plan_dimension(draft, fingerprint)
    plan_network(draft, dimension)
    plan_grid(draft, fingerprint)
    small = small_objects_sentence(fingerprint, draft)
    if small:
        draft.reasons["data.target_spacing"] += f". {small}"
    plan_windows(draft, fingerprint, dimension)
    plan_strategy(draft, fingerprint)
    plan_mining(draft, fingerprint)
    plan_folds(draft)
    plan_learning(draft, fingerprint, dimension)
    plan_split(draft, fingerprint)
    for section, values in overrides.items():
        for key, value in values.items():
            draft.choose(f"{section}.{key}", value, "set by you")
    recipe = make_recipe(draft.values)
    _require_classes(recipe, fingerprint.classes)
    return Plan(recipe, draft.reasons)


def _require_classes(recipe: Recipe, classes: Classes) -> None:
    """Raise :class:`RecipeError` where the loss or a table of shares is for other classes."""
    make_loss(recipe.loss, classes)
    if any(phase.strategy == "table" for phase in find_phases(recipe.sampling)):
        require_shares(recipe.sampling, classes.names)
