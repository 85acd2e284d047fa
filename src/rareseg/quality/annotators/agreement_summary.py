"""Sum up the agreement of annotators over a data set, with intervals over groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rareseg.evaluation.statistics.intervals import (
    Estimate,
    estimate_mean,
    estimate_share,
    independence,
)
from rareseg.evaluation.statistics.jackknife import Scale
from rareseg.evaluation.statistics.undefined import Value
from rareseg.quality.annotators.agreement import CaseAgreement, Lesion
from rareseg.quality.annotators.fleiss import NOTHING_DRAWN, estimate_kappa, kappa_sums

QUARTERS = ("smallest quarter", "second quarter", "third quarter", "largest quarter")


@dataclass(frozen=True)
class PairAgreement:
    """Two annotators over the cases that both looked at: means over those where either drew."""

    first: str
    second: str
    dice: Estimate
    surface_dice: Estimate


@dataclass(frozen=True)
class SizeQuarter:
    """A quarter of the lesions by size, from ``smallest`` to ``largest`` in the size's unit.

    ``drawn`` is the share of looks at these lesions in which they were drawn, ``drawn_by_all`` the
    share of lesions that everyone drew, ``dice`` the mean over lesions of the pairwise dice.
    """

    name: str
    n_lesions: int
    smallest: float
    largest: float
    drawn: Estimate
    drawn_by_all: Estimate
    dice: Estimate


@dataclass(frozen=True)
class LesionCount:
    """``n_lesions`` were drawn by ``drawn_by`` of ``n_annotators`` who looked."""

    n_annotators: int
    drawn_by: int
    n_lesions: int


@dataclass(frozen=True)
class RegionAgreement:
    """One region over all cases that two annotators or more looked at.

    In ``n_all`` cases everyone drew something, in ``n_none`` nobody, in ``n_some`` only some did.
    ``dice``, ``surface_dice``, the two kappas per case and the shares (of the voxels that anyone
    drew) are means over cases; ``pooled_kappa`` and ``pooled_kappa_near`` count all voxels of all
    cases together, so that cases in which nobody drew anything have a say as well.
    """

    region: str
    n_cases: int
    n_all: int
    n_some: int
    n_none: int
    dice: Estimate
    surface_dice: Estimate
    kappa: Estimate
    kappa_near: Estimate
    pooled_kappa: Estimate
    pooled_kappa_near: Estimate
    disagreed_share: Estimate
    ambiguous_share: Estimate
    n_lesions: int
    size_unit: str
    lesion_counts: tuple[LesionCount, ...]
    quarters: tuple[SizeQuarter, ...]
    pairs: tuple[PairAgreement, ...]


def summarize_agreement(cases: Sequence[CaseAgreement]) -> tuple[RegionAgreement, ...]:
    """Return the agreement on every region, in the order in which the cases name them.

    Cases with one annotator are left out of everything.
    """
    regions = dict.fromkeys(case.region for case in cases)
    return tuple(
        _summarize(
            region,
            [case for case in cases if case.region == region and len(case.annotators) > 1],
        )
        for region in regions
    )


def _summarize(region: str, cases: Sequence[CaseAgreement]) -> RegionAgreement:
    groups = [case.group for case in cases]

    def mean(read: Callable[[CaseAgreement], Value], scale: Scale = "share") -> Estimate:
        return estimate_mean(
            [read(case) for case in cases],
            groups,
            scale=scale,
            none=NOTHING_DRAWN if cases else "no case that two annotators looked at",
        )

    n_drew = [len(case.drawn_by) for case in cases]
    n_all = sum(n == len(case.annotators) for n, case in zip(n_drew, cases, strict=True))
    n_none = sum(n == 0 for n in n_drew)
    lesions = [lesion for case in cases for lesion in case.lesions]
    counts = Counter((len(lesion.annotators), len(lesion.drawn_by)) for lesion in lesions)
    return RegionAgreement(
        region=region,
        n_cases=len(cases),
        n_all=n_all,
        n_some=len(cases) - n_all - n_none,
        n_none=n_none,
        dice=mean(lambda case: case.dice),
        surface_dice=mean(lambda case: case.surface_dice),
        kappa=mean(lambda case: case.kappa, "plain"),
        kappa_near=mean(lambda case: case.kappa_near, "plain"),
        pooled_kappa=estimate_kappa(
            [kappa_sums(case.votes) for case in cases],
            groups,
        ),
        pooled_kappa_near=estimate_kappa(
            [kappa_sums(case.near) for case in cases],
            groups,
        ),
        disagreed_share=mean(lambda case: case.disagreed_share),
        ambiguous_share=mean(lambda case: case.ambiguous_share),
        n_lesions=len(lesions),
        size_unit=cases[0].size_unit if cases else "",
        lesion_counts=tuple(
            LesionCount(n, drawn_by, found) for (n, drawn_by), found in sorted(counts.items())
        ),
        quarters=_quarters(lesions),
        pairs=_pairs(cases),
    )


def _pairs(cases: Sequence[CaseAgreement]) -> tuple[PairAgreement, ...]:
    """Return every two annotators who ever looked at the same case, in the manifest's order."""
    found = {}
    for names in dict.fromkeys((pair.first, pair.second) for case in cases for pair in case.pairs):
        seen = [
            (pair, case.group)
            for case in cases
            for pair in case.pairs
            if (pair.first, pair.second) == names
        ]
        groups = [group for _, group in seen]
        found[names] = PairAgreement(
            *names,
            *(
                estimate_mean(
                    values,
                    groups,
                    scale="share",
                    none="neither annotator drew anything",
                )
                for values in ([p.dice for p, _ in seen], [p.surface_dice for p, _ in seen])
            ),
        )
    return tuple(found.values())


def _quarters(lesions: Sequence[Lesion]) -> tuple[SizeQuarter, ...]:
    """Return the lesions in four parts of as equal a number as can be; none of fewer than four."""
    if len(lesions) < len(QUARTERS):
        return ()
    ordered = sorted(lesions, key=lambda lesion: (lesion.size, lesion.case_id, lesion.number))
    parts = np.array_split(np.arange(len(ordered)), len(QUARTERS))
    return tuple(
        _quarter(name, [ordered[i] for i in part])
        for name, part in zip(QUARTERS, parts, strict=True)
    )


def _quarter(name: str, lesions: Sequence[Lesion]) -> SizeQuarter:
    # The lesions of one image are not independent, even where no group is known.
    groups = [lesion.group or f"\n{lesion.case_id}" for lesion in lesions]
    assumed = independence([lesion.group for lesion in lesions])
    drawn = [len(lesion.drawn_by) for lesion in lesions]
    looks = [len(lesion.annotators) for lesion in lesions]
    everyone = [float(a == b) for a, b in zip(drawn, looks, strict=True)]
    estimates = (
        estimate_share(drawn, looks, groups, none="no lesion"),
        estimate_share(everyone, [1] * len(lesions), groups, none="no lesion"),
        estimate_mean(
            [lesion.dice for lesion in lesions],
            groups,
            scale="share",
            none="no lesion",
        ),
    )
    return SizeQuarter(
        name,
        len(lesions),
        lesions[0].size,
        lesions[-1].size,
        *(replace(estimate, method=estimate.method + assumed) for estimate in estimates),
    )
