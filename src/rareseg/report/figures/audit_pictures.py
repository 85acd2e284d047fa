"""Draw the cases of audit findings, with what is meant in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg.quality.audit import Box, Example, Finding
from rareseg.report.figures.case_pictures import (
    PictureChoice,
    errors_uri,
    image_uri,
    reference_uri,
    take_picture,
)
from rareseg.report.report_content import CasePicture

MOST_SHOWN = 6
"""Sights of a finding that get a picture."""
LONGEST = 256
"""Pixels of the longer side of a picture."""
ZOOMED = ("one-voxel-islands", "small-holes")
"""Findings whose places are too small to be seen in the whole image."""
LEAST_CROP = 40
MOST_SPOTS = 12


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A case, or a part of it, as a picture.

    ``picture`` holds the image and, as its reference, all that is drawn. ``moved`` is the mask
    (y, x) where it would fit, ``None`` where nothing is proposed. ``spots`` are (top, left, height,
    width) of what is meant, as shares of the picture.
    """

    picture: CasePicture
    moved: NDArray[np.bool_] | None = None
    spots: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Scene:
    """What is shown of one sight: one case, or a pair side by side."""

    note: str
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True)
class SnapshotView:
    """A snapshot as the page shows it."""

    title: str
    tag: str
    image: str
    drawn: str
    moved: str
    spots: tuple[tuple[str, str, str, str], ...]
    width: int
    height: int


def scenes_wanted(findings: Sequence[Finding]) -> dict[str, tuple[Example, ...]]:
    """Return which sights of every finding get a picture: at most ``MOST_SHOWN`` of each.

    Notes and findings of a whole data set have none.
    """
    return {
        finding.name: finding.examples[:MOST_SHOWN]
        for finding in findings
        if finding.kind.severity != "note" and finding.examples
    }


def take_snapshot(
    finding: str,
    example: Example,
    case_id: str,
    group: str | None,
    image: NDArray[np.generic],
    drawn: NDArray[np.bool_],
) -> Snapshot:
    """Return the picture of one case of a sight; of a volume the slice where there is most to see.

    ``image`` is (C, z, y, x), ``drawn`` (z, y, x). Findings in :data:`ZOOMED` show the surroundings
    of the first place alone.
    """
    own = example.boxes if case_id == example.case_id else ()
    moved = example.move.apply(drawn) if example.move is not None else None
    if moved is not None and moved.shape != drawn.shape:
        moved = None
    plane = own[0][0][0] if own else int(np.argmax(drawn.sum(axis=(1, 2))))
    boxes = [box for box in own if box[0][0] <= plane < box[0][1]][:MOST_SPOTS]
    frame = ((0, drawn.shape[1]), (0, drawn.shape[2]))
    if finding in ZOOMED and boxes:
        frame = _surroundings(boxes[0], drawn.shape)
    (y0, y1), (x0, x1) = frame
    part = np.s_[:, y0:y1, x0:x1]
    picture = take_picture(
        PictureChoice(case_id, "", "positive" if drawn.any() else "negative", ""),
        image[:, :, y0:y1, x0:x1],
        drawn[part],
        np.zeros_like(drawn[part]),
        group=group,
        plane=plane,
    )
    return Snapshot(
        replace(picture, image=_small(picture.image)),
        None if moved is None else moved[part][plane],
        tuple(
            (
                (top - y0) / (y1 - y0),
                (left - x0) / (x1 - x0),
                (b - top) / (y1 - y0),
                (r - left) / (x1 - x0),
            )
            for _, (top, b), (left, r) in boxes
            if y0 <= top < y1 and x0 <= left < x1
        ),
    )


def view_snapshot(snapshot: Snapshot) -> SnapshotView:
    """Return a snapshot as the page shows it."""
    picture = snapshot.picture
    parts = [f"slice {picture.plane}"] if picture.plane is not None else []
    parts += [f"group {picture.group}"] if picture.group else []
    moved = ""
    if snapshot.moved is not None:
        # Missed voxels are drawn hollow and in another colour than the reference.
        moved = errors_uri(replace(picture, reference=snapshot.moved))
    height, width = picture.reference.shape
    return SnapshotView(
        title=picture.case_id,
        tag=", ".join(parts),
        image=image_uri(picture),
        drawn=reference_uri(picture) if picture.reference.any() else "",
        moved=moved,
        spots=tuple(_spot(*spot) for spot in snapshot.spots),
        width=width,
        height=height,
    )


def _spot(top: float, left: float, height: float, width: float) -> tuple[str, str, str, str]:
    """Return the place of a spot as the style sheet writes it."""
    return f"{top:.2%}", f"{left:.2%}", f"{height:.2%}", f"{width:.2%}"


def _surroundings(box: Box, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and columns around a box that are worth showing, within the image."""
    frame = []
    for axis in (1, 2):
        low, high = box[axis]
        side = min(shape[axis], max(LEAST_CROP, 3 * (high - low)))
        start = min(max(0, (low + high - side) // 2), shape[axis] - side)
        frame.append((start, start + side))
    return frame[0], frame[1]


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of at most LONGEST pixels a side."""
    factor = LONGEST / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(n * factor)) for n in image.shape[:2])
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BOX)
    return np.asarray(resized, np.uint8)
