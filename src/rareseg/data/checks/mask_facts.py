"""Look at one mask: whether its values are classes, numbered objects or blurred edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from rareseg_runner.components import bounding_box, component_sizes, label_components
from rareseg_runner.image_records import Mask, Palette

SMALL = 64
"""Objects of at most so many voxels are counted one by one."""
VOID = 255
"""The value by which many data sets mark a rim that counts nowhere."""
RIM = 6.0
"""The largest thickness of such a rim, in pixels."""
THIN = 3.0
"""The largest thickness of a blurred edge, in pixels."""
DARK, BRIGHT = 0.1, 0.9
"""Shares of a mask's largest value, below and above which values count as black and white."""


@dataclass(frozen=True)
class MaskFacts:
    """What is found in one mask.

    ``small_objects[k]`` counts the objects of ``k + 1`` voxels, up to ``SMALL``. ``connected`` says
    of a mask with several values whether the voxels of each are connected, ``apart`` whether no
    two values touch. ``thin_between`` says whether what is neither black nor white is a thin edge.
    ``void_rim`` says whether the value 255 is a thin rim beside other values. ``overlap``,
    ``palette`` and ``changes`` are as in :class:`rareseg.data.records.Mask`.
    """

    small_objects: tuple[int, ...] = ()
    connected: bool = False
    apart: bool = False
    thin_between: bool = False
    void_rim: bool = False
    overlap: int = 0
    palette: Palette | None = None
    changes: tuple[str, ...] = ()


def look_at(mask: Mask, values: Mapping[int, int]) -> MaskFacts:
    """Return what is found in a mask whose voxels hold ``values`` (value to count).

    Only the box around what is not 0 is looked at; a mask that is full of foreground holds no small
    objects.
    """
    drawn = [value for value in values if value != 0]
    told = MaskFacts(overlap=mask.overlap, palette=mask.palette, changes=mask.changes)
    if not drawn or 0 not in values:
        return told
    on = mask.array != 0
    box = bounding_box(on)
    assert box is not None, "something is drawn"
    part, on = mask.array[box], on[box]
    labels, count = label_components(on)
    sizes = component_sizes(labels, count)
    small = np.bincount(sizes[sizes <= SMALL], minlength=SMALL + 1)[1:]
    connected = len(drawn) > 1 and _each_connected(part, len(drawn))
    return MaskFacts(
        small_objects=tuple(map(int, np.trim_zeros(small, "b"))),
        connected=connected,
        apart=connected and count == len(drawn),
        thin_between=len(drawn) > 2 and _is_thin_between(part, max(drawn)),
        void_rim=len(drawn) > 1 and VOID in values and _is_rim(part),
        overlap=mask.overlap,
        palette=mask.palette,
        changes=mask.changes,
    )


def _each_connected(part: NDArray[np.integer], n_values: int) -> bool:
    if int(part.min()) < 0 or n_values > 100_000:
        return False
    padded = np.pad(part.astype(np.uint32), 1)  # see rareseg_runner.components
    count = cc3d.connected_components(padded, connectivity=26, return_N=True)[1]
    return bool(count == n_values)


def _is_thin_between(part: NDArray[np.integer], most: int) -> bool:
    """Whether voxels between black and white are there, and nowhere thicker than an edge."""
    between = (part > DARK * most) & (part < BRIGHT * most)
    return most >= 16 and bool(between.any()) and _thickest(between) <= THIN


def _is_rim(part: NDArray[np.integer]) -> bool:
    return _thickest(part == VOID) <= RIM


def _thickest(on: NDArray[np.bool_]) -> float:
    """Return the thickness in the plane that holds most of it."""
    plane = int(on.reshape(len(on), -1).sum(axis=1).argmax())
    return thickness(on[plane].astype(np.uint8)) or 0.0


def thickness(mask: NDArray[np.integer]) -> float | None:
    """Return how thick what is drawn (y, x) is, in pixels; ``None`` where nothing is.

    2 · area / rim, the rim being the pixels with a side on the background: the width of a line, the
    radius of a disc. What touches the image's border has no rim there.
    """
    drawn = mask != 0
    area = int(drawn.sum())
    if area == 0:
        return None
    inner = drawn.copy()
    inner[1:] &= drawn[:-1]
    inner[:-1] &= drawn[1:]
    inner[:, 1:] &= drawn[:, :-1]
    inner[:, :-1] &= drawn[:, 1:]
    return 2.0 * area / max(1, area - int(inner.sum()))
