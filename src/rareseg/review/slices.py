"""Encode one slice for the review page: pixels and masks as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.quality.suspects import Box, Suspect
from rareseg.review.affected_voxels import Bools
from rareseg.review.case_reader import ViewedCase
from rareseg_runner.image_records import IGNORE, Classes

LARGEST = 4096
"""Pixels of a side that are sent at most; more are cut around the item, or reduced."""

DRAWN, PREDICTED, IGNORED, AFFECTED = 1, 2, 4, 8
"""The bits of a pixel of the masks."""

COLOUR = -1
"""The channel that stands for all three of a photograph."""


@dataclass(frozen=True)
class SliceWindow:
    """Which pixels of a slice are sent: from ``y`` and ``x`` on, every ``step``-th."""

    y: int
    x: int
    height: int
    width: int
    step: int


def frame_of(shape: tuple[int, ...], box: Box) -> SliceWindow:
    """Return what is sent of slices (y, x) of ``shape`` (z, y, x), so that the box is in it.

    The whole slice where it fits; else a cut of :data:`LARGEST` around the box in full resolution;
    else, where the box itself is larger, the whole slice with pixels left out.
    """
    sides, spans = shape[1:], box[1:]
    if any(high - low > LARGEST for low, high in spans):
        step = -(-max(sides) // LARGEST)
        return SliceWindow(0, 0, -(-sides[0] // step), -(-sides[1] // step), step)
    starts, sizes = [], []
    for side, (low, high) in zip(sides, spans, strict=True):
        size = min(side, LARGEST)
        starts.append(min(max(0, (low + high - size) // 2), side - size))
        sizes.append(size)
    return SliceWindow(starts[0], starts[1], sizes[0], sizes[1], 1)


def describe_case(
    viewed: ViewedCase, item: Suspect, affected: Bools, classes: Classes, names: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what the page needs to know before it asks for a slice, as plain values.

    ``channels`` come in the order in which they are offered: ``low`` and ``high`` are what the
    smallest and largest sent number stand for, ``from`` and ``to`` the window to begin with.
    ``drawn`` and ``predicted`` count the affected classes, and ``changes`` the voxels that differ.
    """
    array, geometry = viewed.image.array, viewed.image.geometry
    frame = frame_of(array.shape[1:], item.box)
    channels = []
    if is_colour(viewed):
        channels.append(_channel(COLOUR, "colour", "rgb8", (0.0, 255.0), (0.0, 255.0)))
    kind = "grey8" if array.dtype == np.uint8 else "grey16"
    for number, (limits, window) in enumerate(
        zip(viewed.ranges.tolist(), viewed.windows.tolist(), strict=True)
    ):
        name = names[number] if number < len(names) else f"channel {number + 1}"
        channels.append(_channel(number, name, kind, tuple(limits), tuple(window)))
    return {
        "shape": list(array.shape[1:]),
        "spacing": list(geometry.spacing),
        "dimension": geometry.dimension,
        "frame": vars(frame),
        "channels": channels,
        "plane": plane_of(viewed, item, classes),
        "drawn": _held(viewed.labels[affected], classes),
        "predicted": _held(viewed.predicted[affected], classes),
        "changes": int((viewed.labels[affected] != viewed.predicted[affected]).sum()),
    }


def is_colour(viewed: ViewedCase) -> bool:
    """Tell whether a case is a photograph in three colours of 8 bits."""
    array = viewed.image.array
    return bool(array.shape[0] == 3 and array.shape[1] == 1 and array.dtype == np.uint8)


def plane_of(viewed: ViewedCase, item: Suspect, classes: Classes) -> int:
    """Return the slice where to look: a suspect's own, of a worst case that with most errors."""
    if item.kind != "worst case" or len(viewed.labels) == 1:
        return item.plane
    members = np.asarray(classes.regions[item.region])
    drawn, predicted = np.isin(viewed.labels, members), np.isin(viewed.predicted, members)
    errors = ((drawn ^ predicted) & (viewed.labels != IGNORE)).sum(axis=(1, 2))
    score = errors if errors.any() else drawn.sum(axis=(1, 2))
    return int(score.argmax()) if score.any() else item.plane


def pixels_of(viewed: ViewedCase, frame: SliceWindow, *, plane: int, channel: int) -> bytes:
    """Return a slice's pixels, row by row.

    Three uint8 a pixel of :data:`COLOUR`; one uint8 of an 8-bit channel; else one little-endian
    uint16, 0 and 65535 being the channel's smallest and largest value, and NaN 0.
    """
    cut = _cut(viewed.image.array[:, plane], frame)
    if channel == COLOUR:
        return np.ascontiguousarray(np.moveaxis(cut, 0, -1), np.uint8).tobytes()
    values = cut[channel]
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values).tobytes()
    low, high = viewed.ranges[channel]
    with np.errstate(invalid="ignore"):
        scaled = (np.asarray(values, np.float64) - low) * (65535.0 / (high - low))
    numbers: NDArray[np.uint16] = np.rint(np.nan_to_num(scaled.clip(0.0, 65535.0))).astype("<u2")
    return numbers.tobytes()


def masks_of(
    viewed: ViewedCase,
    frame: SliceWindow,
    affected: Bools,
    *,
    plane: int,
    region: str,
    classes: Classes,
) -> bytes:
    """Return one uint8 a pixel, row by row: the bits drawn, predicted, ignored and affected.

    ``affected`` is (z, y, x). Where pixels are left out, a bit is on if it is for any of those that
    one stands for.
    """
    labels, members = viewed.labels[plane], np.asarray(classes.regions[region])
    bits = np.isin(labels, members) * np.uint8(DRAWN)
    bits |= np.isin(viewed.predicted[plane], members) * np.uint8(PREDICTED)
    bits |= (labels == IGNORE) * np.uint8(IGNORED)
    bits |= affected[plane] * np.uint8(AFFECTED)
    if frame.step > 1:
        for axis in (0, 1):
            places = np.arange(0, bits.shape[axis], frame.step)
            bits = np.bitwise_or.reduceat(bits, places, axis=axis)
        return bits.astype(np.uint8).tobytes()
    return np.ascontiguousarray(_cut(bits, frame), np.uint8).tobytes()


def _cut(array: NDArray[Any], frame: SliceWindow) -> NDArray[Any]:
    rows = slice(frame.y, frame.y + frame.height * frame.step, frame.step)
    columns = slice(frame.x, frame.x + frame.width * frame.step, frame.step)
    return array[..., rows, columns]


def _channel(
    number: int,
    name: str,
    kind: str,
    limits: tuple[float, ...],
    window: tuple[float, ...],
) -> dict[str, Any]:
    return {
        "number": number,
        "name": name,
        "kind": kind,
        "low": limits[0],
        "high": limits[1],
        "from": window[0],
        "to": window[1],
    }


def _held(indices: NDArray[np.uint8], classes: Classes) -> dict[str, int]:
    """Return how many voxels each class of foreground has among some."""
    counts = np.bincount(indices, minlength=classes.count)
    return {name: int(counts[k]) for k, name in enumerate(classes.names) if k > 0 and counts[k] > 0}
