"""Settle the precision of training and prediction before a run begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lightning_fabric import Fabric

from rareseg.recipe import make_recipe, merge
from rareseg.run.setup.out_of_memory import give_back_memory
from rareseg.run.setup.prepare import PreparedRun
from rareseg.training.arithmetic import PrecisionChoice, choose_precisions
from rareseg.training.plan import Plan


def with_precision(run: PreparedRun, fabric: Fabric) -> PreparedRun:
    """Return the run with both precisions in its recipe, each with its reason.

    What is set already stays. Of several processes the first one tries, and all take its answer.
    Raises :class:`~rareseg.errors.RecipeError` where the network or the loss cannot be made.
    """
    recipe = run.recipe
    if "auto" not in (recipe.training.precision, recipe.prediction.precision):
        return run
    found: Mapping[str, PrecisionChoice] = {}
    if fabric.is_global_zero:
        found = choose_precisions(recipe, run.store.classes, run.store.channels, fabric.device)
        give_back_memory()
    found = fabric.broadcast(found)
    values: dict[str, dict[str, object]] = {}
    for name, choice in found.items():
        section, key = name.split(".")
        values.setdefault(section, {})[key] = choice.precision
    reasons = {**run.plan.reasons, **{name: choice.reason for name, choice in found.items()}}
    return replace(run, plan=Plan(make_recipe(merge(recipe.model_dump(), values)), reasons))
