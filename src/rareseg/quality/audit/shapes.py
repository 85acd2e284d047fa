"""Measure the shape of a mask: objects, islands, holes, contact with the border."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.quality.audit.finding import Box
from rareseg_runner.components import bounding_box, component_sizes, label_components
from rareseg_runner.image_records import IGNORE, Classes

Bools = NDArray[np.bool_]

MOST_PLACES = 40
"""How many places of a kind are kept of a case."""
SMALL_HOLE = 0.1
"""A hole is small up to this share of the object around it, or up to ``FEW_VOXELS``."""
FEW_VOXELS = 4
LEAST_OBJECT = 20
"""Voxels that an object has for a hole in it to count."""
FRAME_SHARE, FRAME_WIDTH = 0.95, 4
"""A frame covers so much of a side of the image, and is so many pixels wide at most."""
LEAST_PART = 5
"""Voxels of a part that must have something of its whole around it."""


@dataclass(frozen=True)
class NestedRegions:
    """The parts of one region within another: how many, and those that touch none of its rest."""

    outer: str
    inner: str
    n_parts: int
    bare: tuple[Box, ...]


@dataclass(frozen=True)
class Shapes:
    """What is drawn in one case.

    ``sizes`` leads from a region to the voxels of each of its objects. A component of the whole
    foreground that has one voxel is an island, unless the border cuts it; ``usual_size`` is the
    median of the others (0 where there is none). ``holes`` are small ones. ``frame`` is where a
    thin strip covers a side of a photograph.
    """

    sizes: Mapping[str, tuple[int, ...]]
    n_objects: int
    usual_size: float
    n_cut: int
    n_islands: int
    islands: tuple[Box, ...]
    n_holes: int
    holes: tuple[Box, ...]
    frame: tuple[Box, ...]
    nested: tuple[NestedRegions, ...]


def describe_shapes(labels: NDArray[np.uint8], classes: Classes, *, nested: bool = False) -> Shapes:
    """Return what class indices (z, y, x) show; nothing drawn gives zeros.

    ``nested`` asks for parts within their whole, where regions were declared. Components are
    26-connected (8-connected in a slice). Voxels to ignore are neither drawn nor background: what
    touches them is no hole.
    """
    drawn = (labels > 0) & (labels != IGNORE)
    sizes = {}
    for region, members in classes.regions.items():
        inside = np.isin(labels, members)
        sizes[region] = tuple(component_sizes(*label_components(inside)).tolist())
    box = bounding_box(drawn)
    if box is None:
        return Shapes(sizes, 0, 0.0, 0, 0, (), 0, (), (), ())
    found, count = label_components(drawn)
    voxels = component_sizes(found, count)
    places = ndimage.find_objects(found.astype(np.int32))
    cut = np.array([_is_cut(place, labels.shape) for place in places])
    islands = np.flatnonzero((voxels == 1) & ~cut)
    larger = voxels[voxels > 1]
    holes = _small_holes(labels, found, voxels, box)
    return Shapes(
        sizes=sizes,
        n_objects=count,
        usual_size=float(np.median(larger)) if len(larger) else 0.0,
        n_cut=int(cut.sum()),
        n_islands=len(islands),
        islands=tuple(_as_box(places[k]) for k in islands[:MOST_PLACES]),
        n_holes=len(holes),
        holes=tuple(holes[:MOST_PLACES]),
        frame=_frame(drawn[0]) if len(drawn) == 1 else (),
        nested=_nested(labels, classes) if nested else (),
    )


def _is_cut(place: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Tell whether a box reaches the border, along axes of more than one voxel."""
    return any(
        size > 1 and (side.start == 0 or side.stop == size)
        for side, size in zip(place, shape, strict=True)
    )


def _small_holes(
    labels: NDArray[np.uint8],
    found: NDArray[np.uint32],
    voxels: NDArray[np.int64],
    box: tuple[slice, ...],
) -> list[Box]:
    """Return the places of background that an object encloses and that are small beside it.

    A hole is 6-connected (4-connected in a slice), as is the complement of what is 26-connected.
    It is no wider than the object around it is thick: what a net of cracks encloses is no hole.
    """
    flat = labels.shape[0] == 1
    margin = ((0, 0) if flat else (1, 1), (1, 1), (1, 1))
    outside = np.pad(found[box] == 0, margin, constant_values=True)
    parts, count = ndimage.label(outside)
    if count < 2:
        return []
    beyond = parts[0, 0, 0]
    open_ones = set(np.unique(parts[np.pad(labels[box] == IGNORE, margin)])) | {int(beyond)}
    holes = []
    offset = [side.start - pad[0] for side, pad in zip(box, margin, strict=True)]
    sizes = np.bincount(parts.ravel())
    objects = np.pad(found[box], margin)
    thickness: dict[int, float] = {}
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        if number in open_ones or _reaches_border(place, offset, labels.shape, flat=flat):
            continue
        z, y, x = (int(side[0]) for side in np.nonzero(parts[place] == number))
        # Left of a hole's first voxel stands the object: else that voxel were the hole's as well.
        around = int(objects[place[0].start + z, place[1].start + y, place[2].start + x - 1])
        size, component = int(sizes[number]), int(voxels[around - 1])
        if component < LEAST_OBJECT or size > max(FEW_VOXELS, SMALL_HOLE * component):
            continue
        if around not in thickness:
            thickness[around] = _thickness(found[box] == around)
        width = max(side.stop - side.start for side in place)
        if width <= max(2.0, thickness[around]):
            holes.append(_as_box(place, offset))
    return holes


def _reaches_border(
    place: tuple[slice, ...], offset: list[int], shape: tuple[int, ...], *, flat: bool
) -> bool:
    first = 1 if flat else 0
    moved = [slice(s.start + o, s.stop + o) for s, o in zip(place, offset, strict=True)]
    return any(
        side.start <= 0 or side.stop >= size
        for side, size in list(zip(moved, shape, strict=True))[first:]
    )


def _thickness(component: Bools) -> float:
    """Return 2 · voxels / voxels with a side on the background: a line's width, a disc's radius."""
    flat = component.shape[0] == 1
    core = ndimage.binary_erosion(component[0] if flat else component, border_value=1)
    return 2.0 * int(component.sum()) / max(1, int(component.sum()) - int(core.sum()))


def _frame(drawn: Bools) -> tuple[Box, ...]:
    """Return the strips of foreground (y, x) that cover a side of the image and are thin."""
    boxes = []
    height, width = drawn.shape
    for axis, at_end in ((0, False), (0, True), (1, False), (1, True)):
        lines = drawn if axis == 0 else drawn.T
        lines = lines[::-1] if at_end else lines
        covered = lines[: FRAME_WIDTH + 1].mean(axis=1) if len(lines) > 2 * FRAME_WIDTH else [0.0]
        if covered[0] < FRAME_SHARE or covered[-1] > 0.5:
            continue
        deep = int(np.argmax(np.asarray(covered) < 0.5))
        y, x = (0, height), (0, width)
        strip = (len(lines) - deep, len(lines)) if at_end else (0, deep)
        boxes.append(((0, 1), strip, x) if axis == 0 else ((0, 1), y, strip))
    return tuple(boxes)


def _nested(labels: NDArray[np.uint8], classes: Classes) -> tuple[NestedRegions, ...]:
    """Return, for each region within another, which of its parts touch nothing of the rest."""
    found = []
    for inner, own in classes.regions.items():
        wider = [
            (len(members), outer)
            for outer, members in classes.regions.items()
            if set(own) < set(members)
        ]
        if not wider:
            continue
        outer = min(wider)[1]
        parts, count = label_components(np.isin(labels, own))
        if not count:
            continue
        rest = np.isin(labels, sorted(set(classes.regions[outer]) - set(own)))
        near = ndimage.binary_dilation(rest, np.ones((3, 3, 3), np.bool_))
        touched = set(np.unique(parts[near]).tolist())
        sizes = component_sizes(parts, count)
        large = [k for k in range(1, count + 1) if sizes[k - 1] >= LEAST_PART]
        places = ndimage.find_objects(parts.astype(np.int32))
        bare = tuple(_as_box(places[k - 1]) for k in large if k not in touched)
        found.append(NestedRegions(outer, inner, len(large), bare))
    return tuple(found)


def _as_box(place: tuple[slice, ...], offset: list[int] | None = None) -> Box:
    (z0, z1), (y0, y1), (x0, x1) = (
        (int(side.start) + start, int(side.stop) + start)
        for side, start in zip(place, offset or (0, 0, 0), strict=True)
    )
    return (z0, z1), (y0, y1), (x0, x1)
