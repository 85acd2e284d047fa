"""Plan strategy, mining, loss, steps and learning rates."""

from __future__ import annotations

import math

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.recipe import LOSS_SECTIONS
from rareseg.training.advice import cite
from rareseg.training.plan.recipe_draft import Draft, resampled

EMPTY = 0.1
"""Share of images without foreground from which telling them apart is a task of its own."""

MANY_GROUPS = 100
"""Groups with foreground from which on nothing is pasted; it was tried, and helped, on 22."""

SUBSET = 1000
"""Voxels of each class that a round of mining judges at most, where it does not judge all."""

RARE = 0.04
"""Share of foreground voxels below which the loss looks for the hardest background."""


def plan_strategy(draft: Draft, fingerprint: Fingerprint) -> None:
    """Choose where the network looks, and whether it learns which images hold anything."""
    cases = fingerprint.cases
    groups = {case.group for case in cases if case.group is not None}
    grouped = sum(case.group is not None for case in cases)
    if grouped > len(groups):
        draft.choose(
            "sampling.weighting",
            "group",
            f"{grouped} images belong to {len(groups)} groups: every group is drawn alike, however "
            "many images it has",
        )
    empty = sum(1 for case in cases if not any(case.voxels[1:]))
    share = empty / len(cases)
    if share >= EMPTY:
        draft.choose(
            "loss.presence",
            1.0,
            "many images hold nothing: beside the outlines the network learns which images hold "
            "what, and the image-level gate reads that too",
        )
        draft.choose(
            "sampling.strategy",
            "negatives",
            f"{empty} of {len(cases)} images ({share:.0%}) hold nothing: half of the windows "
            f"hold foreground, its classes in equal shares, half hold none"
            + cite(fingerprint, "negatives"),
        )
        draft.choose("sampling.positive_share", 0.5, "as many windows with foreground as without")
        positive = len({case.group or case.id for case in cases if any(case.voxels[1:])})
        if draft.values["network"]["name"] == "encoder_unet" and positive < MANY_GROUPS:
            draft.choose(
                "augmentation.paste",
                0.5,
                f"only {positive} groups hold foreground: objects of theirs are pasted into half "
                "of the windows that hold none",
            )
    else:
        draft.choose(
            "sampling.strategy",
            "balanced",
            "nearly every image holds foreground: every class gets an equal share of the centres"
            + cite(fingerprint, "balanced"),
        )


def plan_folds(draft: Draft) -> None:
    """Choose what networks are averaged in, where a point is chosen on the mean of a few."""
    held_out = int(draft.overrides.get("split", {}).get("held_out", 1))
    if held_out > 1:
        draft.choose(
            "prediction.mean_of",
            "log_odds",
            f"the point is chosen on means of {held_out} networks and used on the mean of all: in "
            "log-odds both lie in the same place",
        )


def plan_mining(draft: Draft, fingerprint: Fingerprint) -> None:
    """Judge all voxels where that takes no longer than the windows about a subset."""
    window = math.prod(draft.values["sampling"]["patch_size"])
    subset = SUBSET * fingerprint.classes.count * window
    whole = sum(math.prod(resampled(case, draft)) for case in fingerprint.cases)
    if whole <= subset:
        reason = f"every voxel: {SUBSET} windows of each class would hold more than all images do"
    else:
        reason = f"a random subset of each class: all voxels would take {whole / subset:.2g} times"
        reason += " as long"
    draft.choose("mining.voxels", 0 if whole <= subset else SUBSET, reason)


def plan_learning(draft: Draft, fingerprint: Fingerprint, dimension: int) -> None:
    """Choose the loss, the number of steps, the rates and what is kept at the end.

    Raises :class:`RecipeError` where the planned loss does not read what the user set.
    """
    total = [
        sum(case.voxels[k] for case in fingerprint.cases) for k in range(fingerprint.classes.count)
    ]
    rare = sum(total[1:]) / max(1, sum(total))
    name = draft.choose(
        "loss.name",
        "dice_hard_cross_entropy" if rare < RARE else "dice_cross_entropy",
        f"{rare:.2%} of the voxels are foreground: dice does not see how rare it is, "
        "cross-entropy makes false positives cost"
        + (", most of all the hardest background" if rare < RARE else ""),
    )
    LOSS_SECTIONS.require_read(draft.overrides.get("loss", {}), name)
    draft.choose(
        "training.steps",
        usual_steps(len(fingerprint.cases)),
        "a start; --budget 20min measures how many fit into a time",
    )
    pretrained = draft.values["network"]["name"] == "encoder_unet"
    if pretrained:
        draft.choose(
            "training.encoder_rate",
            0.3,
            "the encoder has learned before, and is changed more slowly than the decoder",
        )
    draft.choose(
        "training.checkpoint",
        "last",
        "the running average at the end: the best of a few looks at few groups is chosen by chance",
    )
    if not {"patience", "checkpoint"} & set(draft.overrides.get("training", {})):
        draft.choose(
            "training.validations",
            2,
            "one on the way and one at the end: nothing is chosen by them, and each takes time "
            "from learning",
        )
    draft.choose(
        "training.learning_rate",
        1e-3 if pretrained else 3e-3 if dimension == 2 else 2e-3,
        "AdamW, rising and falling to 0 by a cosine",
    )
    if any(case.dimension == 3 for case in fingerprint.cases):
        draft.choose("augmentation.mirror", 0.0, "left and right differ in volumes of the body")
        draft.choose("augmentation.paste_turns", False, "nor does what is pasted turn in a body")


def usual_steps(cases: int) -> int:
    """Return how many steps are planned for so many cases where no time is given."""
    return _round_up(max(600, min(6000, 8 * cases)), 100)


def _round_up(value: float, multiple: int) -> int:
    return int(-(-value // multiple) * multiple)
