"""Draw cases: choose which to show, and colour hits, misses and false positives.

Colours are Okabe and Ito's, which colour-blind readers tell apart: bluish green is right,
vermillion is wrong, sky blue is missed. Missed voxels are also hollow, so that shape says it too.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.evaluation.measures.case_result import CaseResult, Stratum
from rareseg.evaluation.measures.mask_measures import CaseDetails
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.report.report_content import CasePicture
from rareseg_runner.components import label_components

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

LONGEST = 400
"""Pixels of the longer side of a picture."""

MOST_PIXELS = 4_000_000
"""Of all slices of a page together: a few megabytes."""

CLEAR, CASING, DRAWN, RIGHT, WRONG, MISSED, RIGHT_FILL, WRONG_FILL = range(8)
PALETTE = (
    (0, 0, 0, 0),
    (8, 10, 12, 170),
    (240, 228, 66, 255),
    (0, 158, 115, 255),
    (213, 94, 0, 255),
    (86, 180, 233, 255),
    (0, 158, 115, 130),
    (213, 94, 0, 130),
)
"""RGBA of the overlay's colours, by the numbers above."""

SMALL = 28
"""Components whose box is smaller than this many pixels of the display get a ring around them."""
RING = 7
"""Pixels between a small component and its ring."""
MOST_RINGS = 40


NOT_MEASURED = Undefined("surfaces were not measured")

READABLE = 64
"""8-bit images that span as many grey values are shown as they are."""


@dataclass(frozen=True)
class PictureChoice:
    """A case that is worth a picture, and why."""

    case_id: str
    region: str
    stratum: Stratum
    caption: str


def choose_shots(
    results: Sequence[CaseResult], details: Sequence[CaseDetails] = (), *, each: int = 2
) -> tuple[PictureChoice, ...]:
    """Return the cases that went wrong in one way or another, and some that did not.

    Per region at most ``each`` with the least dice, the largest false alarms, the largest objects
    missed as a whole, and by ``details`` the largest surface distances; then those of median
    and of most dice. No case comes twice in a region, and negative cases without an alarm are not
    shown.
    """
    far = {(case.region, case.case_id): case.surfaces.hausdorff_95_mm for case in details}
    shots: list[PictureChoice] = []
    for region in dict.fromkeys(result.region for result in results):
        own = [result for result in results if result.region == region]
        ranked = sorted(
            (result for result in own if result.stratum == "positive"), key=_dice_and_size
        )
        alarms = sorted(
            (result for result in own if result.false_alarm), key=lambda result: -result.counts.fp
        )
        missed = sorted((r for r in ranked if _missed(r)), key=lambda r: -_missed(r))
        off = {
            r.case_id: value
            for r in ranked
            if is_defined(value := far.get((region, r.case_id), NOT_MEASURED))
        }
        borders = sorted((r for r in ranked if r.case_id in off), key=lambda r: -off[r.case_id])
        middle = max(0, (len(ranked) - each) // 2)
        kinds = (
            ("worst", ranked[:each]),
            ("worst false alarm", alarms[:each]),
            ("missed object", missed[:each]),
            ("worst surface distance", borders[:each]),
            ("median", ranked[middle : middle + each]),
            ("best", ranked[-each:][::-1]),
        )
        shown: set[str] = set()
        for caption, picked in kinds:
            for result in picked:
                if result.case_id not in shown:
                    shown.add(result.case_id)
                    shots.append(PictureChoice(result.case_id, region, result.stratum, caption))
    return tuple(shots)


def take_picture(
    shot: PictureChoice,
    image: NDArray[np.generic],
    reference: Bools,
    prediction: Bools,
    *,
    group: str | None = None,
    plane: int | None = None,
    levels: Bytes | None = None,
    most_slices: int = 1,
) -> CasePicture:
    """Return the picture of a case; of a volume the slice with most errors, else most foreground.

    ``plane`` is another slice. ``levels`` (size, Z, Y, X) are those of the cuts that are offered.
    Of a volume there are up to ``most_slices`` slices beside it, evenly over where anything is.

    ``image`` is (C, Z, Y, X) of any number type, ``reference`` and ``prediction`` (Z, Y, X) bool.
    Three-channel photographs keep their colours; otherwise the first channel is shown, as it is
    where it is 8-bit and has contrast, else from its 0.5 to its 99.5 percentile.
    Ignored voxels are to be False in both masks.
    """
    if plane is None:
        plane = _largest_plane(reference, prediction)

    def take(at: int) -> CasePicture:
        return CasePicture(
            case_id=shot.case_id,
            group=group,
            region=shot.region,
            stratum=shot.stratum,
            caption=shot.caption,
            image=_as_bytes(image[:, at], like=image[:, plane]),
            reference=reference[at],
            prediction=prediction[at],
            plane=at if len(reference) > 1 else None,
            levels=None if levels is None else levels[:, at],
        )

    planes = _planes_around(reference | prediction, plane, most_slices)
    slices = tuple(take(at) for at in planes) if len(planes) > 1 else ()
    return replace(take(plane), slices=slices)


def slices_each(shape: tuple[int, ...], pictures: int) -> int:
    """Return how many slices of a volume (Z, Y, X) a page of so many pictures can hold."""
    return max(1, MOST_PIXELS // max(1, pictures * shape[-2] * shape[-1]))


def image_uri(picture: CasePicture) -> str:
    """Return the picture's image as a PNG data URI of at most LONGEST pixels a side."""
    image = PIL.Image.fromarray(picture.image)
    factor = LONGEST / max(image.size)
    if factor < 1:
        size = [max(1, round(side * factor)) for side in image.size]
        image = image.resize((size[0], size[1]), PIL.Image.Resampling.BOX)
    # Fewer shades than the eye can tell in a small picture, at half the bytes.
    shades = 128 if image.mode == "RGB" else 64
    return _png(image.quantize(shades, dither=PIL.Image.Dither.NONE))


def reference_uri(picture: CasePicture) -> str:
    """Return the reference's outline as a transparent PNG data URI; small parts are ringed."""
    drawn = _to_display(picture.reference)
    colours = np.zeros(drawn.shape, np.uint8)
    colours[_rim(drawn)] = DRAWN
    for where, _ in _small_parts(drawn):
        _ring(colours, where, DRAWN)
    return _overlay(colours)


def errors_uri(picture: CasePicture) -> str:
    """Return what is right and wrong (filled) and missed (hollow) as a transparent PNG data URI.

    Small parts are ringed in the colour of what became of them.
    """
    reference, prediction = picture.reference, picture.prediction
    right = _to_display(reference & prediction)
    wrong = _to_display(prediction & ~reference)
    missed = _to_display(reference & ~prediction)
    colours = np.zeros(right.shape, np.uint8)
    colours[_rim(missed)] = MISSED
    colours[wrong] = WRONG_FILL
    colours[_rim(wrong)] = WRONG
    colours[right] = RIGHT_FILL
    colours[_rim(right)] = RIGHT
    for where, part in _small_parts(right | wrong | missed):
        found = (right[where] & part).any()
        _ring(colours, where, RIGHT if found else WRONG if (wrong[where] & part).any() else MISSED)
    return _overlay(colours)


def _dice_and_size(result: CaseResult) -> tuple[float, int]:
    dice = result.metric("dice")
    return (dice if is_defined(dice) else 0.0), -result.counts.fn


def _missed(result: CaseResult) -> int:
    """Return the voxels of the largest object that is missed as a whole, 0 for none."""
    objects = zip(result.objects.sizes, result.objects.found, strict=True)
    return max((size for size, found in objects if not found), default=0)


def _largest_plane(reference: Bools, prediction: Bools) -> int:
    """Return the index of the slice with most wrong or missed voxels, else most foreground."""
    errors = (reference ^ prediction).sum(axis=(1, 2))
    score = errors if errors.any() else reference.sum(axis=(1, 2))
    return int(np.argmax(score)) if score.any() else len(reference) // 2


def _planes_around(shown: Bools, plane: int, most: int) -> list[int]:
    """Return slices, ascending, ``plane`` among them, evenly over those that show anything."""
    occupied = np.flatnonzero(shown.any(axis=(1, 2)))
    low, high = (occupied[0], occupied[-1]) if len(occupied) else (0, len(shown) - 1)
    low, high = max(0, min(int(low), plane) - 1), min(len(shown) - 1, max(int(high), plane) + 1)
    count = min(most, high - low + 1)
    if count <= 1:
        return [plane]
    even = np.unique(np.linspace(low, high, count).round().astype(int))
    nearest = int(np.argmin(np.abs(even - plane)))
    even[nearest] = plane
    return [int(at) for at in np.unique(even)]


def picture_bytes(plane: NDArray[Any]) -> Bytes:
    """Return a slice (C, y, x) as it is shown: (y, x), or (y, x, 3) of a coloured photograph."""
    return _as_bytes(plane, like=plane)


def _as_bytes(plane: NDArray[Any], *, like: NDArray[Any]) -> Bytes:
    """Return (y, x) or, of three uint8 channels, (y, x, 3) uint8 of a slice (C, y, x).

    Its range of grey values is that of the slice ``like``.
    """
    if len(plane) == 3 and plane.dtype == np.uint8:
        return np.asarray(np.moveaxis(plane, 0, -1), np.uint8)
    low, high = np.percentile(np.nan_to_num(like[0].astype(np.float32)), [0.5, 99.5])
    if plane.dtype == np.uint8 and high - low >= READABLE:
        return np.asarray(plane[0], np.uint8)
    values: NDArray[np.float32] = np.nan_to_num(plane[0].astype(np.float32))
    scaled = (values - low) / max(float(high - low), 1e-6)
    return np.asarray(np.clip(255.0 * scaled + 0.5, 0.0, 255.0), np.uint8)


def _to_display(mask: Bools) -> Bools:
    """Return a mask at display size; reduced, a pixel is on where any voxel under it is."""
    longest = max(mask.shape)
    if longest <= LONGEST:
        factor = max(1, LONGEST // longest)
        return mask.repeat(factor, axis=0).repeat(factor, axis=1)
    small = np.zeros([max(1, round(side * LONGEST / longest)) for side in mask.shape], np.bool_)
    y, x = np.nonzero(mask)
    small[y * small.shape[0] // mask.shape[0], x * small.shape[1] // mask.shape[1]] = True
    return small


def _rim(mask: Bools) -> Bools:
    """Return a mask's outermost two pixels."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=2))


def _small_parts(mask: Bools) -> list[tuple[tuple[slice, slice], Bools]]:
    """Return (box, part within it) of the components that are easily overlooked."""
    labels, _ = label_components(mask)
    boxes = ndimage.find_objects(labels.astype(np.int32))
    small = [
        (box, labels[box] == number)
        for number, box in enumerate(boxes, start=1)
        if max(side.stop - side.start for side in box) < SMALL
    ]
    return sorted(small, key=lambda found: -int(found[1].sum()))[:MOST_RINGS]


def _ring(colours: Bytes, box: tuple[slice, slice], colour: int) -> None:
    """Draw a ring around a box, two pixels wide, where nothing else is drawn."""
    centre = [(side.start + side.stop - 1) / 2 for side in box]
    radius = max(side.stop - side.start for side in box) / 2 + RING
    y, x = np.ogrid[: colours.shape[0], : colours.shape[1]]
    distance = np.hypot(y - centre[0], x - centre[1])
    colours[(np.abs(distance - radius) <= 1.0) & (colours == CLEAR)] = colour


def _overlay(colours: Bytes) -> str:
    """Return the colours with a dark casing around them, as a transparent PNG data URI."""
    painted = colours != CLEAR
    cased = colours.copy()
    cased[ndimage.binary_dilation(painted) & ~painted] = CASING
    image = PIL.Image.fromarray(cased).convert("P")
    image.putpalette([channel for colour in PALETTE for channel in colour], rawmode="RGBA")
    return _png(image)


def _png(image: PIL.Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
