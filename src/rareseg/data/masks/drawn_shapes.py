"""What annotation tools draw: outlines, ellipses, run lengths and small pictures, one object each.

A shape is kept as compact as the file that it came from, and becomes pixels where a case is read.
A pixel belongs to an outline or an ellipse where its centre lies inside (how corners count:
:mod:`rareseg.data.masks.polygons`). Every shape gives the window of the image that it touches
alone, so that many small objects on a large image cost little.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from rareseg.data.masks.mask_run_lengths import decode_counts, decode_pairs, decompress_counts
from rareseg.data.masks.polygons import rasterise
from rareseg.errors import DataError

Window = tuple[int, int, NDArray[np.bool_]]
"""The first row, the first column, and which pixels (Y, X) from there on are on."""

_FARTHEST = 1e7
"""No image has as many pixels along a side."""
_ENDLESS = re.compile("[P-o]{14}")
"""A number of more than 65 bits in COCO's compressed run lengths."""


class Shape(ABC):
    """One object on an image, in pixels of the image."""

    @abstractmethod
    def draw(self, size: tuple[int, int]) -> Window:
        """Return the pixels of the object on an image of ``size`` (height, width).

        Raises DataError for what does not fit on such an image; nothing is allocated before.
        """


@dataclass(frozen=True, slots=True)
class Outline(Shape):
    """Polygons, which are united where they overlap; each is even-odd, so it may hold holes.

    ``rings`` are the corners (x, y) of one ring each, as the bytes of float64; :func:`outline`
    makes them. What covers no pixel's centre is drawn as the pixel in which its middle lies, so
    that no object vanishes.
    """

    rings: tuple[bytes, ...]

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the pixels inside; raises DataError for an object that lies beside the image."""
        rings = [np.frombuffer(ring).reshape(-1, 2) for ring in self.rings]
        corners = np.concatenate(rings)
        box = _window(corners.min(0), corners.max(0), size)
        x, y, width, height = box
        on = np.zeros((height, width), np.bool_)
        for ring in rings:
            on |= rasterise([ring - (x, y)], (height, width))
        if not on.any():
            column, row = np.floor((corners.min(0) + corners.max(0)) / 2).astype(int) - (x, y)
            if 0 <= row < height and 0 <= column < width:
                on[row, column] = True
        return y, x, on


@dataclass(frozen=True, slots=True)
class Ellipse(Shape):
    """An ellipse round (x, y) with two radii, turned clockwise on the screen by ``degrees``."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    degrees: float = 0.0

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the pixels inside, at least the one of the centre."""
        reach = max(self.radius_x, self.radius_y)
        if min(self.radius_x, self.radius_y) < 0 or reach > _FARTHEST:
            raise DataError(f"an ellipse has the radii {self.radius_x:g} and {self.radius_y:g}")
        middle = np.array([self.x, self.y])
        x, y, width, height = _window(middle - reach, middle + reach, size)
        rows, columns = np.mgrid[y : y + height, x : x + width] + 0.5
        turn = np.deg2rad(self.degrees)
        right, down = columns - self.x, rows - self.y
        along = (right * np.cos(turn) + down * np.sin(turn)) / max(self.radius_x, 1e-9)
        across = (down * np.cos(turn) - right * np.sin(turn)) / max(self.radius_y, 1e-9)
        on: NDArray[np.bool_] = along**2 + across**2 <= 1
        row, column = int(np.floor(self.y)) - y, int(np.floor(self.x)) - x
        if not on.any() and 0 <= row < height and 0 <= column < width:
            on[row, column] = True
        return y, x, on


@dataclass(frozen=True, slots=True)
class ColumnRuns(Shape):
    """COCO's run lengths of a whole image, down the columns.

    ``counts`` is the compressed text, or the bytes of int64 of plain run lengths.
    """

    counts: str | bytes
    height: int
    width: int

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the whole image; raises DataError for another size and for broken run lengths."""
        if (self.height, self.width) != size:
            raise DataError(
                f"run lengths are of {self.width} x {self.height} pixels on an image of "
                f"{size[1]} x {size[0]}"
            )
        if isinstance(self.counts, bytes):
            return 0, 0, decode_counts(np.frombuffer(self.counts, np.int64).tolist(), size)
        if _ENDLESS.search(self.counts):
            raise DataError("compressed run lengths hold a number that no image has.")
        return 0, 0, decode_counts(decompress_counts(self.counts), size)


@dataclass(frozen=True, slots=True)
class BoxRuns(Shape):
    """CVAT's run lengths inside a box, along its rows: off, on, off, …, as the bytes of int64."""

    counts: bytes
    x: int
    y: int
    width: int
    height: int

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the box; raises DataError where it leaves the image or is not filled."""
        if (
            min(self.x, self.y, self.width, self.height) < 0
            or self.x + self.width > size[1]
            or self.y + self.height > size[0]
        ):
            raise DataError(
                f"a mask of {self.width} x {self.height} pixels at ({self.x}, {self.y}) leaves the "
                f"image of {size[1]} x {size[0]}"
            )
        # Along rows is down the columns of the box turned over.
        turned = (self.width, self.height)
        on = decode_counts(np.frombuffer(self.counts, np.int64).tolist(), turned)
        return self.y, self.x, on.T


@dataclass(frozen=True, slots=True)
class KagglePairs(Shape):
    """Kaggle's "start length start length …", down the columns, the first pixel being 1."""

    text: str

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the whole image; raises DataError for runs that are out of order or outside."""
        on = decode_pairs(self.text, size)
        starts = np.array(self.text.split()[::2], np.int64)
        lengths = np.array(self.text.split()[1::2], np.int64)
        if len(lengths) and (starts[1:] < starts[:-1] + lengths[:-1]).any():
            raise DataError(
                "run lengths are not in ascending order; starts that count from the end of the run "
                "before are not read"
            )
        return 0, 0, on


@dataclass(frozen=True, slots=True)
class Bitmap(Shape):
    """LabelMe's mask: a PNG of 0 and another value, its first pixel at column x and row y."""

    png: bytes
    x: int
    y: int

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the part of the picture that lies on the image."""
        try:
            with PIL.Image.open(io.BytesIO(self.png), formats=("PNG",)) as file:
                # Its size stands in the header; nothing is decoded before it is known to fit.
                if file.width > size[1] + 2 or file.height > size[0] + 2:
                    raise DataError(
                        f"a mask of {file.width} x {file.height} pixels is larger than the image "
                        f"of {size[1]} x {size[0]}"
                    )
                on = np.asarray(file.convert("L") if file.mode not in ("1", "L", "I") else file)
        except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
            raise DataError(f"a mask holds no readable PNG ({error})") from error
        above, left = max(0, -self.y), max(0, -self.x)
        on = (on != 0)[above : size[0] - self.y, left : size[1] - self.x]
        return max(0, self.y), max(0, self.x), on


@dataclass(frozen=True, slots=True)
class BrushRuns(Shape):
    """Label Studio's run lengths of a brush: bits that give an RGBA picture, row by row.

    The bits are those of thi.ng's rle-pack: how many numbers (32 bits), the bits of a number less
    one (5), four sizes of run lengths less one (4 each); then for each run whether it repeats one
    number (1), which of the sizes its length has (2), its length less one, and the number, or that
    many numbers. On is where alpha lies above 127.
    """

    packed: bytes
    height: int
    width: int

    def draw(self, size: tuple[int, int]) -> Window:
        """Return the whole image; raises DataError for another size and for broken bits."""
        if (self.height, self.width) != size:
            raise DataError(
                f"a brush is of {self.width} x {self.height} pixels on an image of "
                f"{size[1]} x {size[0]}"
            )
        samples = _unpacked(self.packed, 4 * self.height * self.width)
        return 0, 0, samples.reshape(self.height, self.width, 4)[..., 3] > 127


def outline(rings: Iterable[ArrayLike]) -> Outline | None:
    """Return the outline of rings of corners, (N, 2) or (2N,) each; None where none has three.

    Raises DataError for corners that are no pairs of finite numbers.
    """
    kept = []
    for ring in rings:
        corners = numbers(ring, "corners of a polygon")
        if corners.size % 2:
            raise DataError("a polygon has an odd number of coordinates")
        if (np.abs(corners) > _FARTHEST).any():
            raise DataError(f"a polygon has the coordinate {corners[np.abs(corners).argmax()]:g}")
        if corners.size >= 6:
            kept.append(corners.tobytes())
    return Outline(tuple(kept)) if kept else None


def rectangle(x0: float, y0: float, x1: float, y1: float, degrees: float = 0.0) -> Outline:
    """Return the rectangle with two opposite corners, turned clockwise round its middle."""
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
    middle, turn = corners.mean(0), np.deg2rad(degrees)
    across = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    made = outline([(corners - middle) @ across + middle if degrees else corners])
    assert made is not None, "four corners enclose something"
    return made


def numbers(values: Any, what: str) -> NDArray[np.float64]:
    """Return values as one row of finite float64; raises DataError for any other."""
    try:
        array = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        array = np.array([np.nan])
    if not np.isfinite(array).all():
        raise DataError(f"{what} are finite numbers; found {str(values)[:60]}")
    return array


def whole_numbers(values: Any, what: str) -> bytes:
    """Return whole numbers as the bytes of int64; raises DataError for any other."""
    array = numbers(values, what)
    if (np.abs(array) > 2**53).any() or not np.array_equal(array, np.round(array)):
        raise DataError(f"{what} are whole numbers; found {str(values)[:60]}")
    return array.astype(np.int64).tobytes()


def _window(
    low: NDArray[np.float64], high: NDArray[np.float64], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return (x, y, width, height) of the pixels between two corners (x, y) on an image."""
    if (high < -1).any() or low[0] > size[1] + 1 or low[1] > size[0] + 1:
        raise DataError(
            f"an object lies at ({low[0]:.0f}, {low[1]:.0f}), beside the image of {size[1]} x "
            f"{size[0]} pixels"
        )
    first = np.clip(np.floor(low), 0, (size[1], size[0])).astype(int)
    last = np.clip(np.ceil(high), 0, (size[1], size[0])).astype(int)
    # A flat object keeps the pixel that it lies in.
    last = np.minimum(np.maximum(last, first + 1), (size[1], size[0]))
    return int(first[0]), int(first[1]), int(last[0] - first[0]), int(last[1] - first[1])


def _unpacked(packed: bytes, expected: int) -> NDArray[np.uint8]:
    """Return the numbers of a packed brush, which must be ``expected`` many."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    powers: Sequence[NDArray[np.int64]] = [
        1 << np.arange(k, dtype=np.int64)[::-1] for k in range(33)
    ]
    at = 0

    def take(count: int) -> int:
        nonlocal at
        if at + count > len(bits):
            raise DataError("a brush ends in the middle of a run")
        at += count
        return int(bits[at - count : at] @ powers[count])

    found = take(32)
    if found != expected:
        raise DataError(f"a brush holds {found} numbers where the image needs {expected}")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out = np.zeros(expected, np.uint8)
    filled = 0
    while filled < expected:
        repeats = take(1)
        length = take(sizes[take(2)]) + 1
        if filled + length > expected:
            raise DataError("a brush has runs beyond its image")
        if repeats:
            out[filled : filled + length] = take(word) & 255
        else:
            if at + length * word > len(bits):
                raise DataError("a brush ends in the middle of a run")
            block = bits[at : at + length * word].reshape(length, word)
            out[filled : filled + length] = (block @ powers[word]) & 255
            at += length * word
        filled += length
    return out
