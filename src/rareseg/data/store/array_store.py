"""Build a store from arrays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.folder_lock import one_writer
from rareseg.data.store.store import Store
from rareseg.data.store.store_writing import (
    BUILD_WAIT_S,
    Labels,
    Source,
    open_current,
    store_key,
    write_store,
)
from rareseg.errors import DataError, nearest
from rareseg.progress import Track, silent
from rareseg_runner.image_records import IGNORE, Classes, Geometry, Image
from rareseg_runner.preprocessing.preprocess import Preprocessing, class_indices


@one_writer("folder", beside=True, wait_s=BUILD_WAIT_S)
def store_from_arrays(
    folder: Path | str,
    images: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
    *,
    classes: Classes | None = None,
    groups: Mapping[str, str] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    preprocessing: Preprocessing | None = None,
    jobs: int = 1,
    track: Track = silent,
) -> Store:
    """Write arrays into a store at ``folder``: the way in for data that are Python objects.

    ``images`` maps an id to (C, Z, Y, X), ``labels`` the same ids to (Z, Y, X) mask values; a
    photograph has Z = 1. ``classes`` ``None`` takes the values 0…highest as the classes,
    ``spacing`` (z, y, x) in mm is that of all cases. Otherwise as :func:`build_store`.

    Raises :class:`DataError` where an image has no labels, the reverse, shapes disagree, or
    ``groups`` names a case that there is not.
    """
    folder = Path(folder)
    groups = groups or {}
    _check_arrays(images, labels)
    unknown = [case_id for case_id in groups if case_id not in images]
    if unknown:
        raise DataError(
            f"groups names {len(unknown)} cases that there are not, such as '{unknown[0]}'"
            f"{nearest(unknown[0], images)}; name cases by their ids."
        )
    if classes is None:
        _require_numbered(labels)
        classes = _plain_classes(max(int(mask.max()) for mask in labels.values()))
    digest = hashlib.sha256(repr((classes, groups, spacing)).encode())
    for case_id, image in images.items():
        for array in (image, labels[case_id]):
            digest.update(f"{case_id} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    key = store_key(digest.hexdigest(), preprocessing)
    known = open_current(folder, key)
    if known is not None:
        return known
    flat = all(image.shape[1] == 1 for image in images.values())
    sources = [
        Source(
            id=case_id,
            group=groups.get(case_id),
            shape=image.shape[1:],
            spacing=spacing,
            dtype=str(image.dtype),
            channels=image.shape[0],
            load=partial(
                _take_case,
                Image(image, Geometry(spacing=spacing, dimension=2 if flat else 3)),
                labels[case_id],
                classes,
            ),
        )
        for case_id, image in images.items()
    ]
    return write_store(
        folder,
        sources,
        classes=classes,
        preprocessing=preprocessing or Preprocessing(dimension=2 if flat else 3),
        key=key,
        jobs=jobs,
        track=track,
    )


def _take_case(image: Image, mask: NDArray[np.integer], classes: Classes) -> tuple[Image, Labels]:
    """Take one case that is given as arrays."""
    return image, class_indices(mask, classes.values, classes.ignore_value)


def _check_arrays(images: Mapping[str, NDArray[Any]], labels: Mapping[str, NDArray[Any]]) -> None:
    """Refuse ids that stand on one side only and shapes that disagree."""
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        raise DataError(f"'{alone[0]}' has an image or labels, but not both.")
    for case_id, image in images.items():
        if image.ndim != 4 or image.shape[1:] != labels[case_id].shape:
            raise DataError(
                f"Case '{case_id}': the image has shape {image.shape} and the labels "
                f"{labels[case_id].shape}; expected (C, Z, Y, X) and (Z, Y, X)."
            )


def _require_numbered(labels: Mapping[str, NDArray[Any]]) -> None:
    """Raise DataError where values are no numbers of classes, as in masks of 0 and 255."""
    for case_id, mask in labels.items():
        highest = int(mask.max(initial=0))
        if highest >= IGNORE:
            raise DataError(
                f"the labels of '{case_id}' hold the value {highest}, and classes are numbered "
                f"from 0 to {IGNORE - 1}; give `mask > 0` where it means inside, or say by "
                "`classes` what the values mean."
            )


def _plain_classes(highest: int) -> Classes:
    """Return the classes of the values 0…highest; with several, their union is a region."""
    plain = ("foreground",) if highest <= 1 else tuple(f"class_{i}" for i in range(1, highest + 1))
    regions: dict[str, tuple[int, ...]] = {
        name: (index,) for index, name in enumerate(plain, start=1)
    }
    if len(plain) > 1:
        regions = {"foreground": tuple(range(1, len(plain) + 1)), **regions}
    return Classes(
        names=("background", *plain), values=tuple(range(len(plain) + 1)), regions=regions
    )
