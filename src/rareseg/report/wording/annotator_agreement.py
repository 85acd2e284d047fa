"""Describe the agreement of annotators in lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rareseg.evaluation.statistics.intervals import INDEPENDENT_IMAGES
from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg.quality.annotators import AnnotatorResults, CaseConsensus, RegionAgreement
from rareseg.report.wording.numbers import count, percent, size, with_interval

GOOD, POOR = 0.8, 0.5
"""Of dice: what is called good above, and poor below."""


def agreement_lines(agreed: AnnotatorResults) -> list[str]:
    """Return who looked at what, and how far they agree on every region."""
    compared = sum(len(case.annotators) > 1 for case in agreed.consensus)
    names = ", ".join(f"{name} {n}" for name, n in agreed.reviews.items())
    lines = [
        f"{count(len(agreed.reviews), 'annotator')} of {count(len(agreed.consensus), 'case')} "
        f"({names}); {compared} of them were looked at by two or more."
    ]
    for region in agreed.regions:
        lines += _region_lines(region, agreed)
    if any(INDEPENDENT_IMAGES in region.dice.method for region in agreed.regions):
        lines.append(
            "The intervals assume independent images; give groups (patients, objects) if some are "
            "of one."
        )
    return lines


def consensus_lines(agreed: AnnotatorResults, out: Path) -> list[str]:
    """Return what the consensus holds, what is left out of it, and what to do next."""
    kept, settings = agreed.kept, agreed.settings
    ambiguous = sum(case.ambiguous for case in kept)
    held = sum(sum(case.voxels[1:]) for case in kept)
    certain = f"{settings.agreement.certain:g}"
    fate = "are left out as 'ignore'" if settings.ambiguous == "ignore" else "were decided anyway"
    lines = [
        f"Consensus by {'majority' if settings.method == 'majority' else 'STAPLE'}: "
        f"{count(len(kept), 'mask')} with {count(held, 'voxel')} of foreground; "
        f"{count(ambiguous, 'voxel')} on which less than {certain} of the annotators say the same "
        f"{fate}."
    ]
    if agreed.undecided:
        lines.append(
            f"In {count(len(agreed.undecided), 'case')} nothing of what was drawn is foreground in "
            "the consensus: beside the ambiguous voxels they hold background alone."
        )
    for few, fate in (
        ([case for case in agreed.few if case.mask is None], "left out"),
        ([case for case in agreed.few if case.mask is not None], "kept"),
    ):
        if few:
            lines.append(
                f"Fewer than {count(settings.minimum_reviews, 'review')}, {fate}: {_listed(few)}."
            )
    if agreed.unheld:
        lines.append(
            f"No consensus mask holds {', '.join(agreed.unheld)}: too few agree on it anywhere."
        )
    where = out.resolve()
    return [*lines, f"Masks and tables: {where}", f"Train on them with: rareseg train {out}"]


def _region_lines(region: RegionAgreement, agreed: AnnotatorResults) -> list[str]:
    """Return one region's lines, the first of which names it."""
    dice = region.dice
    if isinstance(dice.value, Undefined):
        return [f"{region.region}: agreement is {dice.value}."]
    tolerance = agreed.settings.agreement.tolerance_mm
    unit = "pixel" if region.size_unit == "pixels" else "mm"
    few = " (too few cases to rely on)" if dice.n_cases < 20 else ""
    lines = [
        f"{region.region}: two annotators overlap with a dice of {with_interval(dice)}, "
        f"{_judged(dice.value)}, over {count(dice.n_cases, 'case')}{few}; of their outlines "
        f"{_share(region.surface_dice.value)} lie within {size(tolerance)} {unit} of each other.",
        f"  Beyond chance (Fleiss' κ): {with_interval(region.kappa_near)} near what anyone drew; "
        f"{with_interval(region.kappa)} on whole images, which background inflates.",
        f"  {count(region.n_all, 'case')} in which everyone drew something, {region.n_none} in "
        f"which nobody did, {region.n_some} in which only some did. Of the voxels that anyone drew "
        f"{_share(region.disagreed_share.value)} are not drawn by all.",
    ]
    by_all = sum(c.n_objects for c in region.object_counts if c.drawn_by == c.n_annotators)
    by_one = sum(c.n_objects for c in region.object_counts if c.drawn_by == 1)
    lines.append(
        f"  {count(region.n_objects, 'object')}: {by_all} drawn by everyone who looked, {by_one} "
        "by one alone."
    )
    if region.quarters:
        first, last = region.quarters[0], region.quarters[-1]
        lines.append(
            f"  The smallest quarter (up to {size(first.largest)} {region.size_unit}): dice "
            f"{with_interval(first.dice)}, {_share(first.drawn_by_all.value)} drawn by everyone; "
            f"the largest (from {size(last.smallest)} on): {with_interval(last.dice)}, "
            f"{_share(last.drawn_by_all.value)}."
        )
    return lines


def _judged(dice: float) -> str:
    return "which is good" if dice > GOOD else "which is poor" if dice < POOR else "which is fair"


def _share(value: Value) -> str:
    return str(value) if isinstance(value, Undefined) else percent(value)


def _listed(cases: Sequence[CaseConsensus]) -> str:
    """Return the first cases with their reviews, and how many more there are."""
    named = ", ".join(f"{case.case_id} ({len(case.annotators)})" for case in cases[:10])
    return named + (f" and {len(cases) - 10} more" if len(cases) > 10 else "")
