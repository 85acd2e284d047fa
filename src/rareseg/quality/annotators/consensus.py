"""Make one mask of several annotators' by majority vote or STAPLE.

Regions are decided first, each on its own, and the map of classes follows from them: two
annotators who name a spot differently have both seen it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import UsageError, nearest
from rareseg.quality.annotators.agreement import AgreementSettings
from rareseg.quality.annotators.annotations import Bools, Reviews, surroundings
from rareseg_runner.formats.volumes.itk_library import itk_library
from rareseg_runner.image_records import IGNORE, Classes

Method = Literal["majority", "staple"]
Ambiguous = Literal["ignore", "keep"]

MOST_ITERATIONS = 1000
"""STAPLE settles in tens; on masks that have nothing in common it creeps on for thousands."""


@dataclass(frozen=True)
class ConsensusSettings:
    """How masks are united. Raises UsageError for words and numbers that are not allowed.

    ``agreement`` says from which share of equal votes on a voxel is certain, and how wide around
    what is drawn STAPLE looks. Cases with fewer than ``minimum_reviews`` are kept only where
    ``keep_few`` says so; what nobody looked at is never kept.
    """

    method: Method = "majority"
    ambiguous: Ambiguous = "ignore"
    minimum_reviews: int = 3
    keep_few: bool = False
    agreement: AgreementSettings = field(default_factory=AgreementSettings)

    def __post_init__(self) -> None:
        for name, allowed in (("method", get_args(Method)), ("ambiguous", get_args(Ambiguous))):
            value = getattr(self, name)
            if value not in allowed:
                raise UsageError(
                    f"The {name} of a consensus is {value!r}; allowed are "
                    f"{' and '.join(allowed)}{nearest(value, allowed)}."
                )
        if self.minimum_reviews < 1:
            raise UsageError(
                f"The smallest number of reviews is {self.minimum_reviews}; give 1 or more, since "
                "nothing can be made of none."
            )


@dataclass(frozen=True)
class Performance:
    """How one annotator compares with STAPLE's consensus of a region, as STAPLE estimates it.

    Shares in [0, 1] of the voxels near anyone's mask that are, or are not, in the consensus.
    """

    annotator: str
    region: str
    sensitivity: float
    specificity: float


@dataclass(frozen=True, eq=False)
class Consensus:
    """The united mask of one case: ``labels`` (Z, Y, X) uint8 of class indices on the whole image.

    ``ambiguous`` counts the voxels on which too few agreed, whether they are ignored or kept, and
    ``ignored`` those that hold ``IGNORE``: with them what annotators themselves had marked so.
    """

    labels: NDArray[np.uint8]
    ambiguous: int
    ignored: int
    performances: tuple[Performance, ...] = ()


def unite(reviews: Reviews, classes: Classes, settings: ConsensusSettings) -> Consensus:
    """Return the consensus of one case that somebody looked at.

    **Majority**: a region is on where more than half of those who looked drew it; a tie is off.
    **STAPLE**: where its probability is above one half (see :func:`staple`). Either way a region
    can only be on where those that contain it are; a voxel where none is on is background, and any
    other gets a class of the regions that are on, and if it can be none of those that are off; of
    several the one with most votes, and of equals the first.

    **Ambiguous** is a voxel on which less than the share ``certain`` gave the same class. It
    becomes ``IGNORE``, or with ``ambiguous="keep"`` stays what the consensus says. What anyone put
    the ignore label on is ``IGNORE`` in any case.
    """
    labels = np.zeros(reviews.shape, np.uint8)
    counted = reviews.counted
    where = np.nonzero((reviews.labels != 0).any(axis=0) & counted)
    given = reviews.labels[:, where[0], where[1], where[2]]
    n = len(given)
    votes = np.stack([(given == k).sum(axis=0) for k in range(classes.count)])
    performances: list[Performance] = []
    on = np.zeros((len(classes.regions), len(where[0])), np.bool_)
    for row, (region, members) in enumerate(classes.regions.items()):
        if settings.method == "majority":
            on[row] = 2 * votes[list(members)].sum(axis=0) > n
            continue
        drawn = reviews.drawn(members)
        near = counted & surroundings(
            np.asarray(drawn.any(axis=0)), reviews.geometry.spacing, settings.agreement.margin_mm
        )
        probability = np.zeros(counted.shape)
        probability[near], rates = staple(drawn[:, near])
        on[row] = probability[where] > 0.5
        performances += [
            Performance(name, region, *rate)
            for name, rate in zip(reviews.annotators, rates, strict=False)
        ]
    united = np.full(counted.shape, IGNORE, np.uint8)
    united[counted] = 0
    united[where] = _classes_of(on, votes, _membership(classes))
    is_ambiguous = ~settings.agreement.is_certain(votes.max(axis=0, initial=0), n)
    if settings.ambiguous == "ignore":
        united[tuple(axis[is_ambiguous] for axis in where)] = IGNORE
    labels[reviews.box] = united
    return Consensus(
        labels=labels,
        ambiguous=int(np.count_nonzero(is_ambiguous)),
        ignored=int(np.count_nonzero(united == IGNORE)),
        performances=tuple(performances),
    )


def staple(drawn: Bools) -> tuple[NDArray[np.float64], list[tuple[float, float]]]:
    """Return STAPLE's probability of every voxel, and each annotator's sensitivity and specificity.

    ``drawn`` is (annotators, voxels); probabilities are (voxels,) in [0, 1]. Warfield, Zou & Wells
    (2004), as SimpleITK's filter computes it: the prior is the mean share that annotators drew, so
    that it depends on how much background is looked at. Voxels are looked at one by one, in any
    order. Where its estimate is 0/0, as where all drew everything or nothing, the probability is
    the share of votes, and there are no rates.
    """
    if drawn.shape[1] == 0:
        return np.zeros(0), []
    itk = itk_library()
    staple_filter = itk.STAPLEImageFilter()
    staple_filter.SetForegroundValue(1)
    staple_filter.SetMaximumIterations(MOST_ITERATIONS)
    images = [itk.GetImageFromArray(row.astype(np.uint8)[np.newaxis]) for row in drawn]
    found = np.asarray(itk.GetArrayFromImage(staple_filter.Execute(images))[0], np.float64)
    rates = zip(staple_filter.GetSensitivity(), staple_filter.GetSpecificity(), strict=True)
    if not np.isfinite(found).all():
        return drawn.mean(axis=0), []
    return found, [(float(sensitivity), float(specificity)) for sensitivity, specificity in rates]


def _membership(classes: Classes) -> Bools:
    """Return which region holds which class, (regions, classes)."""
    return np.array(
        [[k in members for k in range(classes.count)] for members in classes.regions.values()]
    )


def _classes_of(on: Bools, votes: NDArray[np.integer], membership: Bools) -> NDArray[np.uint8]:
    """Return the class of every voxel from the regions that are on there.

    ``on`` (regions, voxels), ``votes`` (classes, voxels), ``membership`` (regions, classes).
    """
    on = on.copy()
    sizes = membership.sum(axis=1)
    for inner in np.argsort(-sizes, kind="stable"):  # from the outermost inwards
        holds = (membership | ~membership[inner]).all(axis=1) & (sizes > sizes[inner])
        on[inner] &= on[holds].all(axis=0)
    n_regions = len(membership)
    weights = membership.T.astype(np.float32)
    # As many regions that are on as can be, then as few that are off.
    fit = weights @ (on.astype(np.float32) * (n_regions + 1) - (~on).astype(np.float32))
    fit[0] = -np.inf
    best = np.argmax(np.where(fit == fit.max(axis=0), votes, -1), axis=0)
    return np.where(on.any(axis=0), best, 0).astype(np.uint8)
