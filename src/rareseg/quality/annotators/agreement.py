"""Measure the agreement of annotators on one case, by region and by object.

An **object** is a connected component of the union of all masks of a region. The union, since what
a single annotator drew is gone from every consensus, and just that is to be seen. Neighbours that
one annotator joined are one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.errors import UsageError
from rareseg.evaluation.measures.case_result import size_of_voxel
from rareseg.evaluation.metrics.surface_distance import measure_surfaces
from rareseg.evaluation.statistics.undefined import Undefined, Value, mean_of_defined, ratio
from rareseg.quality.annotators.annotations import Bools, Reviews, surroundings
from rareseg.quality.annotators.fleiss import (
    NOTHING_DRAWN,
    KappaSums,
    Votes,
    fleiss_kappa,
    kappa_sums,
)
from rareseg_runner.components import component_sizes, label_components
from rareseg_runner.image_records import Classes

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open ranges of z, y and x on the image's own grid."""

ONE_REVIEW = "fewer than two annotators looked"


@dataclass(frozen=True)
class AgreementSettings:
    """What agreement is measured with.

    Surfaces agree within ``tolerance_mm``. ``margin_mm`` is by how much the union of all masks is
    dilated to say what lies near it. A voxel is ambiguous where less than the share ``certain`` of
    those who looked say the same of it: at 0.75 one of two or of three who differs makes it so, one
    of four does not. Millimetres are pixels where a file states no spacing. Raises UsageError for
    values that make no sense.
    """

    tolerance_mm: float = 1.0
    margin_mm: float = 5.0
    certain: float = 0.75

    def __post_init__(self) -> None:
        for name in ("tolerance_mm", "margin_mm"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise UsageError(
                    f"The {name} of agreement is {getattr(self, name)}; give millimetres ≥ 0."
                )
        if not 0.5 < self.certain <= 1.0:
            raise UsageError(
                f"The share that makes a voxel certain is {self.certain:g}; give one above 0.5, "
                "since half against half is no agreement, and at most 1."
            )

    def is_certain(self, votes: NDArray[np.integer], n: int) -> Bools:
        """Tell where ``votes`` of n annotators are enough to call a voxel certain."""
        return np.asarray(votes >= self.certain * n - 1e-9)


@dataclass(frozen=True)
class Pair:
    """How far two annotators agree on one region of one case, each in [0, 1] or undefined."""

    first: str
    second: str
    dice: Value
    surface_dice: Value


@dataclass(frozen=True)
class DrawnObject:
    """One object and who drew it.

    ``voxels`` are those of the union, ``voxels_by[i]`` those that annotator i drew. ``size`` is the
    mean over those who drew any of it, in ``size_unit``: a size that disagreement does not inflate,
    as it does the union's. ``dice`` is the mean over pairs of whom at least one drew it.
    """

    case_id: str
    region: str
    group: str | None
    number: int
    box: Box
    voxels: int
    size: float
    size_unit: str
    annotators: tuple[str, ...]
    voxels_by: tuple[int, ...]
    dice: Value

    @property
    def drawn_by(self) -> tuple[str, ...]:
        """Those who drew any of it."""
        pairs = zip(self.annotators, self.voxels_by, strict=True)
        return tuple(name for name, voxels in pairs if voxels)


@dataclass(frozen=True)
class CaseAgreement:
    """The agreement on one region of one case: counts that can be added, and what is read of them.

    ``votes`` are of the whole image, ``near`` of what lies within the margin of anyone's mask.
    ``ambiguous`` voxels have too few votes either way. Voxels that anyone put the ignore label on
    count nowhere.
    """

    case_id: str
    region: str
    group: str | None
    annotators: tuple[str, ...]
    votes: Votes
    near: Votes
    ambiguous: int
    pairs: tuple[Pair, ...]
    objects: tuple[DrawnObject, ...]
    size_unit: str

    @property
    def drawn_by(self) -> tuple[str, ...]:
        """Those who drew anything of the region."""
        return tuple(
            name
            for i, name in enumerate(self.annotators)
            if any(component.voxels_by[i] for component in self.objects)
        )

    @property
    def dice(self) -> Value:
        """The mean dice over the pairs of whom at least one drew something."""
        return self._over_pairs([pair.dice for pair in self.pairs])

    @property
    def surface_dice(self) -> Value:
        """The mean surface dice over the same pairs."""
        return self._over_pairs([pair.surface_dice for pair in self.pairs])

    @property
    def kappa(self) -> Value:
        """Fleiss' κ over the whole image, which background inflates."""
        return self._kappa(kappa_sums(self.votes))

    @property
    def kappa_near(self) -> Value:
        """Fleiss' κ over what lies near anyone's mask."""
        return self._kappa(kappa_sums(self.near))

    @property
    def ambiguous_share(self) -> Value:
        """The ambiguous voxels as a share of those that anyone drew."""
        return ratio(self.ambiguous, self.votes.drawn, undefined=NOTHING_DRAWN)

    @property
    def disagreed_share(self) -> Value:
        """The voxels that some drew and some did not, as a share of those that anyone drew."""
        return ratio(self.votes.disagreed, self.votes.drawn, undefined=NOTHING_DRAWN)

    def _over_pairs(self, values: Sequence[Value]) -> Value:
        none = NOTHING_DRAWN if len(self.annotators) > 1 else ONE_REVIEW
        return mean_of_defined(values, undefined=none)

    def _kappa(self, sums: KappaSums) -> Value:
        if len(self.annotators) < 2:
            return Undefined(ONE_REVIEW)
        return Undefined(NOTHING_DRAWN) if sums.votes == 0 else fleiss_kappa([sums])


def measure_case(
    reviews: Reviews, classes: Classes, settings: AgreementSettings
) -> tuple[CaseAgreement, ...]:
    """Return the agreement on every region of one case, in the order of ``classes.regions``.

    ``reviews`` were read with a margin of ``settings.margin_mm`` or more. With one annotator there
    are votes and objects, and no pairs.
    """
    return tuple(
        _measure_region(reviews, region, reviews.drawn(members), settings)
        for region, members in classes.regions.items()
    )


def _measure_region(
    reviews: Reviews, region: str, drawn: Bools, settings: AgreementSettings
) -> CaseAgreement:
    n, counted = len(drawn), reviews.counted
    spacing = reviews.geometry.spacing
    votes = drawn.sum(axis=0, dtype=np.uint16)
    near = surroundings(votes > 0, spacing, settings.margin_mm) & counted
    whole = np.bincount(votes[counted], minlength=n + 1)
    whole[0] += reviews.beyond
    certain = settings.is_certain(np.maximum(votes, n - votes), n)
    _, size_unit = size_of_voxel(reviews.geometry)
    objects = _objects(reviews, region, drawn)
    return CaseAgreement(
        case_id=reviews.case.id,
        region=region,
        group=reviews.case.group,
        annotators=reviews.annotators,
        votes=Votes(tuple(whole.tolist())),
        near=Votes(tuple(np.bincount(votes[near], minlength=n + 1).tolist())),
        ambiguous=int(np.count_nonzero(counted & ~certain)),
        pairs=tuple(
            _pair(reviews, drawn, i, j, settings.tolerance_mm) for i, j in combinations(range(n), 2)
        ),
        objects=objects,
        size_unit=size_unit,
    )


def _pair(reviews: Reviews, drawn: Bools, i: int, j: int, tolerance_mm: float) -> Pair:
    surfaces = measure_surfaces(
        drawn[i], drawn[j], spacing=reviews.geometry.spacing, tolerance_mm=tolerance_mm
    )
    both = int(np.count_nonzero(drawn[i] & drawn[j]))
    total = int(np.count_nonzero(drawn[i])) + int(np.count_nonzero(drawn[j]))
    neither = "neither annotator drew anything"
    surface_dice = surfaces.surface_dice
    return Pair(
        first=reviews.annotators[i],
        second=reviews.annotators[j],
        dice=ratio(2 * both, total, undefined=neither),
        surface_dice=Undefined(neither) if isinstance(surface_dice, Undefined) else surface_dice,
    )


def _objects(reviews: Reviews, region: str, drawn: Bools) -> tuple[DrawnObject, ...]:
    """Return the components of the union with what each annotator drew of them."""
    components, count = label_components(np.asarray(drawn.any(axis=0)))
    if count == 0:
        return ()
    n = len(drawn)
    by = np.stack([component_sizes(components[mask], count) for mask in drawn], axis=1)
    both = {
        (i, j): component_sizes(components[drawn[i] & drawn[j]], count)
        for i, j in combinations(range(n), 2)
    }
    sizes = component_sizes(components, count)
    voxel, size_unit = size_of_voxel(reviews.geometry)
    starts = [int(part.start) for part in reviews.box]
    objects = []
    for k, box in enumerate(ndimage.find_objects(components.astype(np.int32))):
        own = by[k]
        dices = [
            ratio(2 * int(shared[k]), int(own[i] + own[j]), undefined="neither drew it")
            for (i, j), shared in both.items()
        ]
        (z0, z1), (y0, y1), (x0, x1) = (
            (int(part.start) + start, int(part.stop) + start)
            for part, start in zip(box, starts, strict=True)
        )
        objects.append(
            DrawnObject(
                case_id=reviews.case.id,
                region=region,
                group=reviews.case.group,
                number=k + 1,
                box=((z0, z1), (y0, y1), (x0, x1)),
                voxels=int(sizes[k]),
                size=float(own[own > 0].mean()) * voxel,
                size_unit=size_unit,
                annotators=reviews.annotators,
                voxels_by=tuple(own.tolist()),
                dice=mean_of_defined(dices, undefined=ONE_REVIEW),
            )
        )
    return tuple(objects)
