"""Write the part of a model card on data and intended use."""

from __future__ import annotations

from collections.abc import Sequence

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.report.model_card.card_content import CardContent
from rareseg.report.model_card.markdown import markdown_table
from rareseg.report.report_content import ROLE_PURPOSES, find_leakage, fold_purposes, role_counts
from rareseg.report.wording.numbers import count
from rareseg.report.wording.verdict import FEW_CASES


def factors(content: CardContent) -> list[str]:
    """Return by what the figures are split, and by what they are not."""
    cases = content.fingerprint.cases
    known = sum(case.group is not None for case in cases)
    return [
        "Cases that hold a region, cases that do not, and single objects stand apart. Groups "
        f"(patients, objects) are known of {known:,} of {count(len(cases), 'case')}. Devices, "
        "sites and preparations are not recorded, so figures are not split by them."
    ]


def evaluation_data(content: CardContent) -> list[str]:
    """Return what the figures were measured on."""
    cases = content.cases("test")
    if not cases:
        return ["None: no case of the data set was kept for testing."]
    return [
        f"The test cases of the data set that the model learned from: {_described(cases)}. "
        f"{ROLE_PURPOSES['test']}"
    ]


def training_data(content: CardContent) -> list[str]:
    """Return the cases of each role, what they hold, and the digest of all."""
    regions = content.model.classes.regions
    held_out = content.model.recipe.split.held_out
    purposes = fold_purposes(held_out) if content.in_folds else ROLE_PURPOSES
    counts = role_counts(content.fingerprint.cases, content.roles)
    rows = [
        (
            role,
            f"{own.n_cases:,}",
            f"{own.n_groups:,}",
            *(f"{content.positives(role, region):,}" for region in regions),
            purposes[role],
        )
        for role, own in counts.items()
    ]
    return [
        f"Learned from {_described(content.cases('train'))}.",
        "",
        *markdown_table(
            ("role", "cases", "groups", *(f"with {name}" for name in regions), "used for"), rows
        ),
        "",
        "Digest of the whole data set (SHA-256 of the names, sizes and times of its files, and of "
        f"what is declared of them): {content.model.training.data}.",
    ]


def limits(content: CardContent) -> list[str]:
    """Return what the data say about how far the model can be relied on."""
    lines = []
    for region in content.model.classes.regions:
        positive = content.positives("train", region)
        if positive < FEW_CASES:
            lines.append(f"- {region} was learned from only {count(positive, 'positive case')}.")
    leak = find_leakage(content.fingerprint, content.roles)
    if leak.shared_groups or leak.near_duplicates:
        lines.append(
            "- The split may leak, and the figures are optimistic: "
            f"{count(leak.shared_groups, 'group')} and {count(leak.near_duplicates, 'pair')} of "
            "near-duplicates lie in more than one role."
        )
    alone = sum(case.group is None for case in content.fingerprint.cases)
    if alone:
        lines.append(
            f"- Intervals and certificates assume independent images: of {count(alone, 'case')} "
            "the group is not known."
        )
    return [
        *lines,
        f"- Tried on {content.images} as described above and on nothing else. For another device, "
        "site, size or resolution, score cases with masks first: `rareseg evaluate RUN DATA --out "
        "DIR`.",
    ]


def _described(cases: Sequence[CaseFacts]) -> str:
    """Return how many cases there are, of how many groups, and their extent."""
    flat = cases[0].dimension == 2
    noun, element = ("photograph", "pixels") if flat else ("volume", "voxels")
    first = 1 if flat else 0
    text = (
        f"{count(len(cases), noun)} of {count(count_groups([c.group for c in cases]), 'group')}, "
        f"{_ranges([case.shape[first:] for case in cases])} {element}"
    )
    spacings = [case.spacing[first:] for case in cases]
    if flat and all(side == 1.0 for spacing in spacings for side in spacing):
        return text
    return f"{text}, spacing {_ranges(spacings)} mm"


def _ranges(sides: Sequence[Sequence[float]]) -> str:
    """Return the least and the greatest value on each axis."""
    axes = [(min(axis), max(axis)) for axis in zip(*sides, strict=True)]
    return " x ".join(f"{low:g}" if low == high else f"{low:g}–{high:g}" for low, high in axes)
