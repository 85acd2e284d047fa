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
from rareseg.quality.annotators.agreement import CaseAgreement, Object
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
    """A quarter of the objects by size, from ``smallest`` to ``largest`` in the size's unit.

    ``drawn`` is the share of looks at these objects in which they were drawn, ``drawn_by_all`` the
    share of objects that everyone drew, ``dice`` the mean over objects of the pairwise dice.
    """

    name: str
    n_objects: int
    smallest: float
    largest: float
    drawn: Estimate
    drawn_by_all: Estimate
    dice: Estimate


@dataclass(frozen=True)
class ObjectCount:
    """``n_objects`` were drawn by ``drawn_by`` of ``n_annotators`` who looked."""

    n_annotators: int
    drawn_by: int
    n_objects: int


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
    n_objects: int
    size_unit: str
    object_counts: tuple[ObjectCount, ...]
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
    objects = [component for case in cases for component in case.objects]
    counts = Counter((len(component.annotators), len(component.drawn_by)) for component in objects)
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
        n_objects=len(objects),
        size_unit=cases[0].size_unit if cases else "",
        object_counts=tuple(
            ObjectCount(n, drawn_by, found) for (n, drawn_by), found in sorted(counts.items())
        ),
        quarters=_quarters(objects),
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


def _quarters(objects: Sequence[Object]) -> tuple[SizeQuarter, ...]:
    """Return the objects in four parts of as equal a number as can be; none of fewer than four."""
    if len(objects) < len(QUARTERS):
        return ()
    ordered = sorted(
        objects, key=lambda component: (component.size, component.case_id, component.number)
    )
    parts = np.array_split(np.arange(len(ordered)), len(QUARTERS))
    return tuple(
        _quarter(name, [ordered[i] for i in part])
        for name, part in zip(QUARTERS, parts, strict=True)
    )


def _quarter(name: str, objects: Sequence[Object]) -> SizeQuarter:
    # The objects of one image are not independent, even where no group is known.
    groups = [component.group or f"\n{component.case_id}" for component in objects]
    assumed = independence([component.group for component in objects])
    drawn = [len(component.drawn_by) for component in objects]
    looks = [len(component.annotators) for component in objects]
    everyone = [float(a == b) for a, b in zip(drawn, looks, strict=True)]
    estimates = (
        estimate_share(drawn, looks, groups, none="no object"),
        estimate_share(everyone, [1] * len(objects), groups, none="no object"),
        estimate_mean(
            [component.dice for component in objects],
            groups,
            scale="share",
            none="no object",
        ),
    )
    return SizeQuarter(
        name,
        len(objects),
        objects[0].size,
        objects[-1].size,
        *(replace(estimate, method=estimate.method + assumed) for estimate in estimates),
    )
