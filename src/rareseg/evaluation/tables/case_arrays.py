"""Convert one case's scores and reference to the types that kernels read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rareseg.errors import ScoreError, nearest
from rareseg_runner.decision.region_scores import clamped
from rareseg_runner.image_records import IGNORE


def as_case_arrays(
    scores: ArrayLike, reference: ArrayLike, where: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return one case's scores as float32 and its reference as uint8, of one shape.

    ``where`` begins the sentence of the ScoreError that shapes or types which cannot be raise.
    Scores that leave [0, 1] by rounding are clamped, as :func:`clamped` does; else values are not
    looked at.
    """
    score_array = np.asarray(scores)
    reference_array = np.asarray(reference)
    if score_array.shape != reference_array.shape:
        raise ScoreError(
            f"{where}: scores have shape {score_array.shape} and the reference has shape "
            f"{reference_array.shape}; both must be on the case's original grid."
        )
    if score_array.dtype.kind != "f":
        raise ScoreError(
            f"{where}: scores are of type {score_array.dtype}; they must be floats in [0, 1] "
            "(divide 8-bit probabilities by 255)."
        )
    return clamped(score_array.astype(np.float32, copy=False)), as_labels(reference_array, where)


def require_informative_mask(reference: ArrayLike, where: str, *, ignores: bool) -> None:
    """Raise ScoreError for a mask of 0 and 255 alone, in which nothing would be inside.

    Unless ``ignores`` says that 255 leaves voxels out.
    """
    values = np.asarray(reference)
    if ignores or values.dtype.kind not in "iuf":
        return
    if (values == IGNORE).any() and not (values == 1).any():
        raise ScoreError(
            f"{where}: the reference holds {IGNORE} and no 1. {IGNORE} leaves voxels out here; "
            "give `mask > 0` where it means inside, or ignores=True where voxels are left out."
        )


def require_known_cases(groups: Mapping[str, str | None] | None, known: Collection[str]) -> None:
    """Raise ScoreError where groups are given for cases that there are not."""
    unknown = [case_id for case_id in groups or () if case_id not in known]
    if unknown:
        raise ScoreError(
            f"groups names {len(unknown)} cases that there are not, such as '{unknown[0]}'"
            f"{nearest(str(unknown[0]), map(str, known))}; name cases by their ids."
        )


def label_message(where: str) -> str:
    """Return the sentence about a reference that is not the mask of one region."""
    return (
        f"{where}: the reference holds other values than 0 (outside), 1 (inside) and {IGNORE} "
        "(ignored); give the mask of one region, such as `labels == 2`."
    )


def as_labels(reference: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    """Return a reference as uint8 without changing a value; ScoreError where that cannot be."""
    if reference.dtype in (np.bool_, np.uint8):
        return reference.view(np.uint8)
    labels = reference.astype(np.uint8)
    if not np.array_equal(labels, reference):
        raise ScoreError(label_message(where))
    return labels
