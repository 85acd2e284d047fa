"""Score tables: histograms of the score, inside and outside a region, per case.

Per case and region two histograms of the region's score are kept, of voxels inside and outside the
region, over the bins of :mod:`rareseg.evaluation.tables.threshold_bins`, sparsely; of the highest
scores also their values. They add up: the table of a whole is the merge of the tables of its parts.
Every bin edge can be an operating threshold, and counts from the table then equal counts from the
written masks exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rareseg.data.records import Role
from rareseg.errors import ScoreError
from rareseg.evaluation.tables.case_arrays import (
    as_case_arrays,
    label_message,
    require_informative_mask,
    require_known_cases,
)
from rareseg.evaluation.tables.highest_scores import (
    UNKNOWN,
    HighestScores,
    add_highest,
    highest_scores,
)
from rareseg.evaluation.tables.region_rows import RegionTable, Spacing, TableRow
from rareseg.evaluation.tables.threshold_bins import histogram
from rareseg_runner.decision.image_score import as_presence, image_score, require_one_kind
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.image_records import IGNORE, Classes

COLUMNS = ("inside", "outside", "inside_low", "outside_low")
"""The fields of a row that add up, one number per bin."""


@dataclass(frozen=True, eq=False)
class CaseScores(TableRow):
    """The score histograms of one region in one case.

    ``bins`` (k,) uint16, ascending, are the bins that hold any voxel; ``inside`` and ``outside``
    (k,) int64 count the voxels of the region and of its complement in each; ``inside_low`` and
    ``outside_low`` (k,) int64 sum the lower 16 bits that binning cuts off
    (:class:`~rareseg.evaluation.tables.threshold_bins.Histogram`). ``highest`` counts the same
    voxels once more, those with the highest scores, score by score. Ignored voxels are in none of
    these. ``top`` is the case's largest score, **ignored voxels included**, as it is seen when a
    mask is predicted; with ``presence`` it makes the image score, which the image-level gate cuts.
    """

    bins: NDArray[np.uint16]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    inside_low: NDArray[np.int64]
    outside_low: NDArray[np.int64]
    top: float
    highest: HighestScores = field(default_factory=lambda: UNKNOWN)

    @property
    def image_score(self) -> float:
        """The image score, which the image-level gate cuts (:func:`image_score`)."""
        return image_score(self.top, self.presence)

    @property
    def n_inside(self) -> int:
        """The number of voxels in the region."""
        return int(self.inside.sum())

    @property
    def n_voxels(self) -> int:
        """The number of voxels that count."""
        return int(self.inside.sum() + self.outside.sum())

    @property
    def top_bin(self) -> int:
        """The highest bin that holds a voxel that counts, or -1 where none counts."""
        return int(self.bins[-1]) if len(self.bins) else -1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CaseScores):
            return NotImplemented
        return (
            self.key == other.key
            and (self.group, self.role, self.spacing, self.top, self.presence)
            == (other.group, other.role, other.spacing, other.top, other.presence)
            and np.array_equal(self.bins, other.bins)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in COLUMNS)
            and self.highest == other.highest
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class ScoreTable(RegionTable[CaseScores]):
    """Rows of :class:`CaseScores`, unique and sorted by (region, case id)."""

    kind: ClassVar[str] = "score table"
    if_twice: ClassVar[str] = "merge(a, b) adds the counts of parts of one case"


def merge(*tables: ScoreTable) -> ScoreTable:
    """Return the table of everything in ``tables``; rows of one case and region add up.

    Histograms are added, and the larger top score and the larger presence are kept, so the merge of
    the tables of a case's two halves is the table of the case. Raises ScoreError where two rows of
    one case differ in group, role or spacing, and where only some rows of a region have a presence.
    """
    rows = sorted((row for table in tables for row in table), key=lambda row: row.key)
    return ScoreTable(tuple(_add(tuple(same)) for _, same in groupby(rows, lambda row: row.key)))


def _add(rows: tuple[CaseScores, ...]) -> CaseScores:
    """Return the sum of rows of one case and region."""
    first = rows[0]
    if len(rows) == 1:
        return first
    if any(
        (row.group, row.role, row.spacing) != (first.group, first.role, first.spacing)
        for row in rows
    ):
        raise ScoreError(
            f"Parts of case '{first.case_id}' (region '{first.region}') disagree on group, role "
            "or spacing and cannot be merged; score them with the same ones."
        )
    presences = [row.presence for row in rows]
    require_one_kind(presences, f"Parts of case '{first.case_id}' (region '{first.region}')")
    bins, position = np.unique(np.concatenate([row.bins for row in rows]), return_inverse=True)

    def total(column: str) -> NDArray[np.int64]:
        sums = np.zeros(len(bins), np.int64)
        np.add.at(sums, position, np.concatenate([getattr(row, column) for row in rows]))
        return sums

    inside, outside = total("inside"), total("outside")
    return replace(
        first,
        bins=bins,
        inside=inside,
        outside=outside,
        inside_low=total("inside_low"),
        outside_low=total("outside_low"),
        highest=add_highest([row.highest for row in rows], bins, inside + outside),
        top=max(row.top for row in rows),
        presence=max((q for q in presences if q is not None), default=None),
    )


def score_case(
    scores: ArrayLike,
    reference: ArrayLike,
    *,
    case_id: str,
    region: str,
    group: str | None = None,
    role: Role | None = None,
    spacing: Spacing = (1.0, 1.0, 1.0),
    presence: float | None = None,
    ignores: bool = False,
) -> CaseScores:
    """Return the histograms of one region's score in one case.

    ``scores`` is (Z, Y, X) or (Y, X) of any float type (brought to float32), in [0, 1];
    ``reference`` is of the same shape, bool or integer: 0 outside, 1 inside, IGNORE (255) counts
    nowhere; one of 0 and 255 alone is refused unless ``ignores`` says that 255 leaves voxels out.
    An empty array gives an empty row with top 0. ``presence`` in [0, 1] is the network's own
    probability that the case holds the region, None where it tells none: with it the image score,
    which gates cut, is √(presence · top), without it the top. Time: two passes; memory: 4 MB
    whatever the size (for C-contiguous float32 scores and bool or uint8 references).

    Raises ScoreError that names case and region where shapes differ, a score or the presence is NaN
    or outside [0, 1], or a reference value is none of the three.
    """
    where = f"Case '{case_id}', region '{region}'"
    require_informative_mask(reference, where, ignores=ignores)
    score_array, label_array = as_case_arrays(scores, reference, where)
    flat, labels = np.ravel(score_array), np.ravel(label_array)
    seen = histogram(flat, labels)
    if seen.wrong_scores:
        # The kernel takes -0.0 for a negative score; adding 0.0 turns it into 0.0.
        flat = flat + np.float32(0.0)
        seen = histogram(flat, labels)
    if seen.wrong_scores:
        raise ScoreError(
            f"{where}: {seen.wrong_scores} of {score_array.size} scores are NaN or outside [0, 1]; "
            "give probabilities (after softmax or sigmoid), not logits."
        )
    if seen.wrong_labels:
        raise ScoreError(label_message(where))
    return CaseScores(
        case_id=case_id,
        region=region,
        group=group,
        role=role,
        spacing=spacing,
        bins=seen.bins,
        inside=seen.inside,
        outside=seen.outside,
        inside_low=seen.inside_low,
        outside_low=seen.outside_low,
        top=seen.top,
        highest=highest_scores(flat, labels, seen),
        presence=as_presence(presence, where),
    )


def region_references(labels: NDArray[np.uint8], classes: Classes) -> dict[str, NDArray[np.uint8]]:
    """Return every region's reference: 1 inside, 0 outside, IGNORE where the label is ignored.

    ``labels`` (Z, Y, X) uint8 are class indices; each reference has the same shape.
    """
    result = {}
    for region, indices in classes.regions.items():
        lookup = np.zeros(256, np.uint8)
        lookup[list(indices)] = 1
        lookup[IGNORE] = IGNORE
        result[region] = lookup[labels]
    return result


def score_regions(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    classes: Classes,
    *,
    case_id: str,
    group: str | None = None,
    role: Role | None = None,
    spacing: Spacing = (1.0, 1.0, 1.0),
    presence: Mapping[str, float] | None = None,
) -> ScoreTable:
    """Return one case's rows for every region, from a softmax and a map of class indices.

    ``probabilities`` (C, Z, Y, X), ``labels`` (Z, Y, X); ``presence`` leads from each region to the
    network's probability that the case holds it, None where the network tells none. Raises
    ScoreError as :func:`score_case` does, and where a region has no presence and others have.
    """
    own = presence_of(classes.regions, presence, f"Case '{case_id}'")
    references = region_references(labels, classes)
    return ScoreTable(
        tuple(
            score_case(
                scores,
                references[region],
                case_id=case_id,
                region=region,
                group=group,
                role=role,
                spacing=spacing,
                presence=own[region],
                ignores=True,
            )
            for region, scores in region_scores(probabilities, classes).items()
        )
    )


def score_cases(
    probabilities: Mapping[str, ArrayLike],
    references: Mapping[str, ArrayLike],
    *,
    region: str = "foreground",
    groups: Mapping[str, str] | None = None,
    role: Role | None = None,
    spacing: Spacing | Mapping[str, Spacing] = (1.0, 1.0, 1.0),
    presence: Mapping[str, float] | None = None,
    ignores: bool = False,
) -> ScoreTable:
    """Return the score table of one region from anyone's own arrays.

    Both mappings lead from a case's id to an array, (Z, Y, X) or (Y, X): float scores in [0, 1],
    and a bool mask (or integers, 0, 1 and IGNORE). ``groups`` leads from id to the patient or tile
    that the case belongs to; cases that it does not name are their own group. ``spacing`` is
    (z, y, x), for all cases or by id. ``presence`` leads from every case's id to a probability that
    it holds the region, which then has a say in the image score; None where there is none. The
    first two mappings may load lazily: one case is held at a time. A reference of 0 and 255 alone
    is refused unless ``ignores`` says that 255 leaves voxels out.

    Raises ScoreError where a case stands in one mapping only, where ``groups`` names a case that
    there is not, and as :func:`score_case` does.
    """
    require_same_cases(probabilities, references)
    require_known_cases(groups, probabilities)
    own = presence_of(probabilities, presence, f"Region '{region}'")

    def rows() -> Iterable[CaseScores]:
        for case_id, scores in probabilities.items():
            yield score_case(
                scores,
                references[case_id],
                case_id=case_id,
                region=region,
                group=None if groups is None else groups.get(case_id),
                role=role,
                spacing=spacing[case_id] if isinstance(spacing, Mapping) else spacing,
                presence=own[case_id],
                ignores=ignores,
            )

    return ScoreTable(tuple(rows()))


def presence_of(
    names: Iterable[str], presence: Mapping[str, float] | None, where: str
) -> dict[str, float | None]:
    """Return the presence of each of ``names``, all None where there is none at all.

    Raises ScoreError, begun by ``where``, where it is known for others but not for one of them.
    """
    if presence is None:
        return dict.fromkeys(names)
    wanted = list(names)
    missing = [name for name in wanted if name not in presence]
    if missing:
        raise ScoreError(
            f"{where}: there is no presence of '{missing[0]}', but of "
            f"{', '.join(sorted(presence)[:3]) or 'nothing'}; give it for all, or for none."
        )
    return {name: presence[name] for name in wanted}


def require_same_cases(left: Collection[str], right: Collection[str]) -> None:
    """Raise ScoreError that names the cases which only one side has."""
    unmatched = sorted(set(left) ^ set(right))
    if unmatched:
        shown = ", ".join(f"'{case_id}'" for case_id in unmatched[:3])
        more = f" and {len(unmatched) - 3} more" if len(unmatched) > 3 else ""
        raise ScoreError(
            f"Scores and references must name the same cases, but {shown}{more} stand on one "
            "side only; add what is missing or leave them out of both."
        )
