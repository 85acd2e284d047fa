"""Plan the split: all cases for training where there are too few groups to be divided."""

from __future__ import annotations

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.training.plan.recipe_draft import Draft

FEWEST_GROUPS = 3
"""One each to learn from, to choose by and to test on."""
_SETTINGS = ("train", "validation", "certify", "test", "folds")


def plan_split(draft: Draft, fingerprint: Fingerprint) -> None:
    """Learn from all cases where there are one or two groups, unless the user divides them.

    The last weights are kept then: no validation case says which are better.
    """
    reason = few_groups_sentence(fingerprint)
    if not reason or any(name in draft.overrides.get("split", {}) for name in _SETTINGS):
        return
    for role in ("validation", "certify", "test"):
        draft.choose(f"split.{role}", 0.0, reason)
    draft.choose("split.train", 1.0, reason)
    draft.choose("training.validations", 1, "there is no validation case: the last weights stay")


def few_groups_sentence(fingerprint: Fingerprint) -> str:
    """Return what becomes of data of one or two groups, "" of others and of declared roles."""
    cases = fingerprint.cases
    groups = {case.id if case.group is None else ("group", case.group) for case in cases}
    if not cases or len(groups) >= FEWEST_GROUPS or any(case.role for case in cases):
        return ""
    there = "There is 1 group" if len(groups) == 1 else f"There are {len(groups)} groups"
    return (
        f"{there}, where {FEWEST_GROUPS} are needed to learn, choose and test: train learns from "
        "all cases, chooses no operating point and measures nothing, so that no number says how "
        "good the model is; add cases"
    )
