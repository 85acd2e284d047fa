"""Reduce a case to a thumbnail and its spectrum, to compare it with many others.

The **picture** shows fine structure alone: light that falls off, exposure, contrast and gamma are
divided out (each place by the contrast around it), and what fills the spectrum, such as the
stripes of a brushed plate, is damped, so that stripes do not outweigh the scratch that is this
plate's own. The **spectrum** is the size of the picture's Fourier coefficients along lines through
the origin: a shift does not change it, and a mirrored or turned copy has the same numbers in
another order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from rareseg_runner.image_records import Image

F32 = NDArray[np.float32]

LONG = {2: 96, 3: 40}
"""Pixels (voxels) along the longest side of the picture of a photograph (a volume)."""
GRID = {2: 128, 3: 48}
"""Side of the grid on which pictures are transformed: what exceeds LONG is room for shifts."""
SHORTEST = 8
"""No side of a picture has fewer pixels."""
BLUR = 0.7
NEIGHBOURHOOD = {2: 3.0, 3: 1.5}
"""Deviation (picture's pixels) of the Gaussian within which light and contrast are evened out."""
QUIET = 0.1
"""Places with less than about this share of the usual contrast are taken for flat."""
DAMPING = 0.3
"""The power of its own size by which every Fourier coefficient is divided."""
STEP = 1 / 32
"""A picture's values lie in steps of this size, between -4 and 4, with a mean square of about 1."""
_RADII = {2: 20, 3: 8}
_ANGLES = 36
Symmetry = tuple[tuple[int, ...], tuple[int, ...]]
"""How axes are exchanged (as in ``np.transpose``) and which of them are then turned round."""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """One case made small.

    ``picture`` is int8 (y, x) of a photograph, (z, y, x) of a volume, with LONG pixels along the
    longest side. ``extent`` is that side in pixels of the file (of a volume: in mm), ``shape``
    that of the file's array. ``spectrum`` is float16 (radius, direction), of length 1.
    """

    picture: NDArray[np.int8]
    extent: float
    shape: tuple[int, ...]
    spectrum: NDArray[np.float16]

    @property
    def values(self) -> F32:
        """The picture as float32, with a mean square of about 1."""
        return self.picture * np.float32(STEP)


def make_thumbnail(image: Image) -> Thumbnail | None:
    """Return the thumbnail of an image (channel, z, y, x); ``None`` where it has no structure.

    Channels are brought to one mean and deviation and averaged, the first with the largest weight
    (1, 1/2, 1/3, …), so that no two can cancel out. Values that are NaN or infinite count as the
    mean of the others.
    """
    array = image.array
    flat = array.shape[1] == 1
    dimension = 2 if flat else 3
    spacing = image.geometry.spacing[1:] if flat else image.geometry.spacing
    sides = np.array(array.shape[-dimension:]) * np.array(spacing, np.float64)
    if array.size == 0:
        return None
    shape = np.maximum(np.round(sides * LONG[dimension] / sides.max()), SHORTEST).astype(int)
    total = np.zeros(shape, np.float32)
    for number, channel in enumerate(array):
        small = _standard(resize(_finite(channel[0] if flat else channel), shape.tolist()))
        total += small / np.float32(number + 1)
    picture = _fine_structure(total)
    if picture is None:
        return None
    steps = np.clip(np.round(picture / STEP), -127, 127).astype(np.int8)
    return Thumbnail(steps, float(sides.max()), array.shape[-dimension:], _spectrum(picture))


def resize(array: NDArray[np.generic], shape: Sequence[int]) -> F32:
    """Return an array of any number of axes at another ``shape``, averaged where it shrinks."""
    if array.ndim > 2:
        # Plane by plane, so that no whole volume is held as float32 or with its axes exchanged.
        array = np.stack([resize(plane, shape[1:]) for plane in array])
    result = np.asarray(array, np.float32)
    # The axis that shrinks most goes first, so that the others have less to do.
    for axis in sorted(range(result.ndim), key=lambda a: shape[a] / result.shape[a]):
        if shape[axis] != result.shape[axis]:
            weights = _weights(result.shape[axis], shape[axis])
            result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return np.ascontiguousarray(result)


@cache
def directions(dimension: int) -> NDArray[np.float64]:
    """Return unit vectors (n, dimension), one of each opposite pair, closed under symmetries."""
    if dimension == 2:
        angles = np.arange(_ANGLES) * np.pi / _ANGLES
        return np.stack([np.sin(angles), np.cos(angles)], 1)
    lattice = np.array([p for p in itertools.product(range(-2, 3), repeat=3) if 2 in map(abs, p)])
    half = lattice[[tuple(p) > (0, 0, 0) for p in lattice.tolist()]].astype(np.float64)
    return np.asarray(half / np.linalg.norm(half, axis=1, keepdims=True))


def symmetries(dimension: int) -> tuple[Symmetry, ...]:
    """Return the mirrorings (and in 2D quarter turns) that spectra tell apart.

    Turning round all axes at once leaves a spectrum as it is, so that each stands for two.
    """
    if dimension == 2:
        return (((0, 1), ()), ((0, 1), (1,)), ((1, 0), ()), ((1, 0), (1,)))
    return tuple(((0, 1, 2), axes) for axes in ((), (0,), (1,), (2,)))


@cache
def reorder(dimension: int, symmetry: Symmetry) -> NDArray[np.intp]:
    """Return the order in which a spectrum's directions stand after :func:`transform`."""
    order, turned = symmetry
    vectors = directions(dimension)
    signs = np.array([-1.0 if axis in turned else 1.0 for axis in range(dimension)])
    # Along v the transformed picture varies as the original does along the vector sent to v.
    back = np.empty_like(vectors)
    back[:, list(order)] = vectors * signs
    return np.asarray(np.abs(back @ vectors.T).argmax(1))


def transform(picture: F32, symmetry: Symmetry) -> F32:
    """Apply a symmetry to a picture."""
    order, turned = symmetry
    return np.flip(np.transpose(picture, order), turned)


def _finite(channel: NDArray[np.generic]) -> NDArray[np.generic]:
    if channel.dtype.kind != "f":
        return channel
    finite = np.isfinite(channel)
    if finite.all():
        return channel
    return np.where(finite, channel, channel[finite].mean() if finite.any() else 0)


def _standard(small: F32) -> F32:
    """Return values with mean 0 and deviation 1; zeros where all are equal but for rounding."""
    centred = small - small.mean(dtype=np.float64)
    deviation = float(centred.std(dtype=np.float64))
    if deviation <= 1e-5 * float(np.abs(small).max()):
        return np.zeros_like(small)
    return np.asarray(centred / deviation, np.float32)


def _fine_structure(total: F32) -> F32 | None:
    """Even out light and contrast, damp the strongest waves, and return a mean square of 1."""
    sigma = NEIGHBOURHOOD[total.ndim]
    smooth = _blurred(total, BLUR)
    fine = smooth - _blurred(smooth, sigma)
    usual = float(np.sqrt(np.mean(fine * fine)))
    if usual < 1e-3:
        return None
    around = np.sqrt(np.maximum(_blurred(fine * fine, 1.5 * sigma), 0.0))
    even = fine / (around + QUIET * usual)
    grid = (GRID[total.ndim],) * total.ndim
    waves = fft.rfftn(even - even.mean(), grid)
    size = np.abs(waves)
    waves /= (size + 1e-3 * size.mean()) ** DAMPING
    picture = fft.irfftn(waves, grid)[tuple(slice(0, n) for n in total.shape)]
    return np.asarray(picture / np.sqrt(np.mean(picture**2)), np.float32)


def _spectrum(picture: F32) -> NDArray[np.float16]:
    dimension = picture.ndim
    side = LONG[dimension]
    for axis, length in enumerate(picture.shape):
        picture = picture * _window(length).reshape(
            [-1 if a == axis else 1 for a in range(dimension)]
        )
    waves = np.fft.fftshift(np.abs(fft.fftn(picture, (side,) * dimension)))
    smooth = _blurred(np.sqrt(waves), 1.0, mode="wrap")
    found = ndimage.map_coordinates(smooth, _places(dimension), order=1)
    return np.asarray(found / np.linalg.norm(found), np.float16)


@cache
def _places(dimension: int) -> NDArray[np.float64]:
    """Return where a spectrum is read (axis, radius, direction), in pixels of the transform."""
    side = LONG[dimension]
    radii = np.geomspace(3.0 if dimension == 2 else 2.0, 0.4 * side, _RADII[dimension])
    places = side // 2 + radii[:, None, None] * directions(dimension)
    return np.ascontiguousarray(places.transpose(2, 0, 1))


@cache
def _window(length: int) -> F32:
    return np.asarray(np.sqrt(np.hanning(length + 2)[1:-1]), np.float32)


def _blurred(array: F32, sigma: float, *, mode: str = "reflect") -> F32:
    """Return ``ndimage.gaussian_filter``, six times as fast for arrays as small as these."""
    weights = [_gaussian(length, sigma, mode) for length in array.shape]
    if array.ndim == 3:
        array = np.tensordot(weights[0], array, 1)
    return np.asarray(weights[-2] @ array @ weights[-1].T, np.float32)


@cache
def _gaussian(length: int, sigma: float, mode: str) -> F32:
    """Return the weights (after, before) of a Gaussian filter along one axis."""
    weights = ndimage.gaussian_filter1d(np.eye(length), sigma, axis=0, mode=mode)
    return np.asarray(weights, np.float32)


@cache
def _weights(before: int, after: int) -> F32:
    """Return the weights (after, before) of a triangle as wide as a new pixel, at least an old."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(before) - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distance, 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
