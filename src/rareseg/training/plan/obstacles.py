"""Find what would stop a training although every file is valid."""

from __future__ import annotations

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.records import Role
from rareseg.data.splits import make_split
from rareseg.errors import RaresegError
from rareseg.prediction.networks import require_fitting_windows
from rareseg.recipe import Recipe, make_recipe
from rareseg.training.plan import make_preprocessing, plan_recipe
from rareseg.training.plan.plan_split import plan_split
from rareseg.training.plan.recipe_draft import Draft


def find_obstacles(fingerprint: Fingerprint) -> tuple[str, ...]:
    """Return what `train` would say of these data with nothing set; () where it would begin.

    Data with problems have none: what those are must be mended first.
    """
    if fingerprint.problems or not fingerprint.cases:
        return ()
    found = []
    for attempt in (_plan, _split):
        try:
            attempt(fingerprint)
        except RaresegError as error:
            found.append(f"`rareseg train` would stop: {error}")
    return tuple(found)


def _plan(fingerprint: Fingerprint) -> None:
    recipe = plan_recipe(fingerprint).recipe
    require_fitting_windows(recipe)
    make_preprocessing(recipe, fingerprint)


def _split(fingerprint: Fingerprint) -> None:
    draft = Draft({})
    plan_split(draft, fingerprint)
    make_split(fingerprint, shares=_shares(make_recipe(draft.values)), seed=0)


def _shares(recipe: Recipe) -> dict[Role, float]:
    settings = recipe.split
    return {
        "train": settings.train,
        "validation": settings.validation,
        "certify": settings.certify,
        "test": settings.test,
    }
