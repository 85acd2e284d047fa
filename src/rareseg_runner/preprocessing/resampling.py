"""Resample arrays to another grid: separable, area-aligned, exact at equal shapes.

Both grids cover the same extent: output voxel ``i`` of ``n`` looks at the input coordinate
``(i + 0.5) * n_in / n − 0.5``. So a prediction that is resampled back by shape alone lies where the
image lay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rareseg_runner.components import component_sizes, label_components
from rareseg_runner.image_records import IGNORE

SMALL_OBJECT = 64
"""Objects of fewer target voxels than this are looked for after resampling."""


def resampled_shape(
    shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, int, int]:
    """Return the (z, y, x) shape that covers the same extent at the ``target`` spacing (mm)."""
    z, y, x = (
        max(1, round(n * own / wanted))
        for n, own, wanted in zip(shape, spacing, target, strict=True)
    )
    return z, y, x


def resample(array: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Resample (C, Z, Y, X) float32 to ``shape`` (z, y, x) by linear interpolation.

    Where an axis shrinks by a factor r > 1, the triangular kernel is r times as wide, so that fine
    texture is averaged and not aliased. Equal shapes return the array itself.
    """
    for axis, n in enumerate(shape, start=1):
        array = _along(array, axis, n, smooth=True)
    return array


def resample_labels(labels: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """Resample class indices (Z, Y, X) to ``shape``: the class of the largest linear weight.

    The kernel is not widened and ties go to the larger index, so that a line of one pixel survives
    at half resolution; a majority over the widened kernel would erase it. An object of which
    nothing would be left keeps the one voxel that it fills most of, where that is background.
    """
    if tuple(shape) == labels.shape:
        return labels
    present = np.flatnonzero(np.bincount(labels.reshape(-1), minlength=1))
    if len(present) == 1:
        return np.full(tuple(shape), present[0], np.uint8)
    best = np.full(tuple(shape), -1, np.float32)
    out = np.empty(tuple(shape), np.uint8)
    for value in present:
        weight: NDArray[np.float32] = (labels == value).astype(np.float32)
        for axis, n in enumerate(shape):
            weight = _along(weight, axis, n, smooth=False)
        wins = weight >= best
        best[wins] = weight[wins]
        out[wins] = value
    if out.size < labels.size:
        for value in present:
            if value not in (0, IGNORE):
                _keep_objects(labels, out, int(value))
    return out


def _keep_objects(labels: NDArray[np.uint8], out: NDArray[np.uint8], value: int) -> None:
    """Give each small object of one class that vanished from ``out`` a voxel there."""
    numbers, count = label_components(labels == value)
    sizes = np.concatenate([[0], component_sizes(numbers, count)])
    small = (sizes > 0) & (sizes < SMALL_OBJECT * labels.size / out.size)
    where = np.nonzero(small[numbers])
    if not where[0].size:
        return
    nearest = [
        np.minimum(((at + 0.5) * n / size).astype(np.intp), n - 1)
        for at, n, size in zip(where, out.shape, labels.shape, strict=True)
    ]
    target = np.ravel_multi_index(tuple(nearest), out.shape)
    flat, number = out.reshape(-1), numbers[where]
    kept = np.unique(number[flat[target] == value])
    pairs, filled = np.unique(np.stack([number, target]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -filled, pairs[0]))
    for object_number, place in pairs[:, order].T:
        # The fullest voxel of each object that has none yet comes first.
        if object_number not in kept and flat[place] == 0:
            flat[place] = value
            kept = np.append(kept, object_number)


def _along(array: NDArray[np.float32], axis: int, n: int, *, smooth: bool) -> NDArray[np.float32]:
    """Resample one axis to length ``n`` as a weighted sum of a few taken copies."""
    size = array.shape[axis]
    if size == n:
        return array
    index, weight = _taps(size, n, smooth=smooth)
    form = [1] * array.ndim
    form[axis] = n
    out: NDArray[np.float32] = array.take(index[0], axis=axis)
    out *= weight[0].reshape(form)
    for taken, share in zip(index[1:], weight[1:], strict=True):
        part = array.take(taken, axis=axis)
        part *= share.reshape(form)
        out += part
    return out


def _taps(size: int, n: int, *, smooth: bool) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return (indices, weights), each (taps, n): what each output voxel takes from the input.

    The weights are a triangle around the voxel's coordinate, cut at the array's ends, and sum to 1.
    """
    ratio = size / n
    reach = max(1.0, ratio) if smooth else 1.0
    centre = (np.arange(n) + 0.5) * ratio - 0.5
    first = np.floor(centre - reach).astype(np.intp) + 1
    index = first + np.arange(int(np.ceil(2 * reach)) + 1)[:, None]
    weight = np.maximum(0.0, 1.0 - np.abs(index - centre) / reach)
    weight[(index < 0) | (index >= size)] = 0.0
    weight /= weight.sum(axis=0)
    used = weight.any(axis=1)
    return index.clip(0, size - 1)[used], weight[used].astype(np.float32)
