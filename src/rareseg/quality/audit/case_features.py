"""Compute the features of every case that the audit reads, in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_image, readers_at_once
from rareseg.data.records import Case
from rareseg.data.store.case_labels import read_labels
from rareseg.errors import DataError
from rareseg.progress import Track, silent
from rareseg.quality.audit.backgrounds import Tiles, describe_background
from rareseg.quality.audit.mask_agreement import Miniature, shrink_mask
from rareseg.quality.audit.placement import Alignment, measure_alignment
from rareseg.quality.audit.shapes import Shapes, describe_shapes
from rareseg_runner.image_records import Classes


@dataclass(frozen=True, eq=False)
class CaseFeatures:
    """What one case showed.

    ``drawn`` is a hash of the mask's classes. ``alignment`` is ``None`` without an outline,
    ``miniature`` where none was asked for.
    """

    id: str
    drawn: str
    shapes: Shapes
    alignment: Alignment | None
    tiles: Tiles
    miniature: Miniature | None


def read_case(case: Case, classes: Classes) -> tuple[NDArray[Any], NDArray[np.uint8], Any]:
    """Return image (C, z, y, x), class indices (z, y, x) and geometry; raises DataError."""
    image = read_case_image(case)
    labels = read_labels(case, classes, image)
    if labels.shape != image.array.shape[1:]:
        raise DataError(f"{case.mask} has another shape than its image.")
    return image.array, labels, image.geometry


def look_at(
    cases: Sequence[Case],
    classes: Classes,
    *,
    side: int,
    small: Collection[str] = (),
    nested: bool = False,
    jobs: int = -1,
    track: Track = silent,
) -> dict[str, CaseFeatures]:
    """Look at every case, in parallel; of those in ``small`` a miniature is kept.

    ``side`` is that of background tiles; ``nested`` says that regions were declared. Cases that
    cannot be read, or whose mask holds what no class has, are left out: inspection reports them.
    """
    # Filters and transforms release the interpreter's lock only in part, but processes would have
    # to import everything anew, which takes longer than looking at a few hundred photographs.
    at_once = readers_at_once(cases, jobs)
    work = Parallel(n_jobs=at_once, prefer="threads", return_as="generator")(
        delayed(_features_of_case)(case, classes, side, keep=case.id in small, nested=nested)
        for case in cases
    )
    found = track(work, "Looking at masks and backgrounds", len(cases))
    return {features.id: features for features in found if features is not None}


def _features_of_case(
    case: Case, classes: Classes, side: int, *, keep: bool, nested: bool
) -> CaseFeatures | None:
    try:
        image, labels, geometry = read_case(case, classes)
    except DataError:
        return None
    return CaseFeatures(
        id=case.id,
        drawn=_hash(labels),
        shapes=describe_shapes(labels, classes, nested=nested),
        alignment=measure_alignment(image, labels, geometry.spacing),
        tiles=describe_background(image, labels, side),
        miniature=shrink_mask(labels, classes.count) if keep else None,
    )


def _hash(array: NDArray[Any]) -> str:
    digest = hashlib.blake2b(repr((array.dtype.str, array.shape)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
