"""Read the masks of all annotators of a case on the image's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.case_files import read_case_image, readers_at_once
from rareseg.data.checks.case_checks import count_values, find_misfit
from rareseg.data.checks.problems import Findings
from rareseg.data.checks.read_classes import resolve_classes
from rareseg.data.records import Case, Dataset
from rareseg.errors import DataError, ProblemsError, ReadError
from rareseg.evaluation.tables.region_rows import Spacing
from rareseg.progress import Track, silent
from rareseg_runner.components import bounding_box
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import IGNORE, Classes, Geometry
from rareseg_runner.preprocessing.preprocess import class_indices

Bools = NDArray[np.bool_]

MEND = "correct the masks of the annotators, then call the same command again"
"""What to do about problems that only reading the masks shows."""


@dataclass(frozen=True, eq=False)
class Reviews:
    """What everyone who looked at one case drew.

    ``labels`` (annotators, Z, Y, X) uint8 are class indices, ``IGNORE`` included, within ``box``:
    the smallest that holds everything drawn, with a margin. Beyond it, up to ``shape``, nobody
    drew anything. Where nobody drew at all the box is empty.
    """

    case: Case
    annotators: tuple[str, ...]
    labels: NDArray[np.uint8]
    box: tuple[slice, ...]
    shape: tuple[int, int, int]
    geometry: Geometry

    @property
    def counted(self) -> Bools:
        """Where, within the box, no annotator put the ignore label; (Z, Y, X)."""
        return np.asarray((self.labels != IGNORE).all(axis=0))

    @property
    def beyond(self) -> int:
        """The number of voxels outside the box."""
        return int(np.prod(self.shape)) - int(np.prod(self.labels.shape[1:]))

    def drawn(self, members: Sequence[int]) -> Bools:
        """Return who drew a region where, (annotators, Z, Y, X); ignored voxels are nobody's."""
        return np.isin(self.labels, members) & self.counted


def read_reviews(case: Case, classes: Classes, *, margin_mm: float) -> Reviews:
    """Read the masks of everyone who looked at a case, with ``margin_mm`` around what is drawn.

    A case that nobody looked at gives no labels.

    Raises:
        DataError: the image or a mask cannot be read, a mask does not lie on its image, or it
            holds a value that is no class.
    """
    image = read_case_image(case)
    z, y, x = image.array.shape[1:]
    labels = np.zeros((len(case.annotations), z, y, x), np.uint8)
    for row, (_, path) in enumerate(case.annotations):
        if path is None:
            continue
        mask = read_mask(path)
        misfit = find_misfit(replace(case, mask=path), image, mask)
        if misfit:
            raise DataError(misfit)
        try:
            labels[row] = class_indices(mask.array, classes.values, classes.ignore_value)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    spacing = image.geometry.spacing
    box = _box_around((labels != 0).any(axis=0), spacing, margin_mm)
    return Reviews(
        case=case,
        annotators=tuple(name for name, _ in case.annotations),
        labels=np.ascontiguousarray(labels[:, *box]),
        box=box,
        shape=(z, y, x),
        geometry=image.geometry,
    )


def annotated_classes(dataset: Dataset, *, jobs: int = -1, track: Track = silent) -> Classes:
    """Return what the annotators' labels mean: as declared, or read from all of their masks.

    A declared class that nobody drew is none the worse for it. Raises :class:`ProblemsError`
    where masks cannot be read or hold what no classes can be made of.
    """
    findings = Findings()
    values: dict[str, Sequence[int]] = {}
    if dataset.labels is None:
        paths = [path for case in dataset.cases for _, path in case.annotations if path is not None]
        at_once = readers_at_once(dataset.cases, jobs)
        read = Parallel(n_jobs=at_once, prefer="threads", return_as="generator")(
            delayed(_values)(path) for path in paths
        )
        for path, held in zip(paths, track(read, "reading classes", len(paths)), strict=True):
            if isinstance(held, str):
                findings.problem(held)
            else:
                values[str(path)] = held
    classes = resolve_classes(dataset, values, findings)
    if findings.problems:
        raise ProblemsError(findings.problems, remedy=MEND)
    return classes


def surroundings(mask: Bools, spacing: Spacing, margin_mm: float) -> Bools:
    """Return the mask dilated by ``margin_mm``; same shape (Z, Y, X), empty where it is empty."""
    if not mask.any():
        return mask.copy()
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing)
    # Headers hold 32-bit floats: a voxel at exactly the margin is to stay in.
    return np.asarray(distance <= margin_mm * (1 + 1e-6))


def _values(path: Path) -> tuple[int, ...] | str:
    """Return the values that a mask holds, or why it cannot be read."""
    try:
        return tuple(count_values(read_mask(path).array))
    except ReadError as error:
        return str(error)


def _box_around(mask: Bools, spacing: Spacing, margin_mm: float) -> tuple[slice, ...]:
    """Return the box that holds a mask and a margin of one voxel or more, within the array."""
    box = bounding_box(mask)
    if box is None:
        return (slice(0, 0),) * 3
    grow = [max(1, int(np.ceil(margin_mm / step))) for step in spacing]
    return tuple(
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, grow, mask.shape, strict=True)
    )
