"""Describe the background of a case: texture and brightness of its tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.quality.audit.finding import Box
from rareseg_runner.image_records import IGNORE

Floats = NDArray[np.float32]

MOST_TILES = 24
"""Tiles that are taken of a case, evenly spaced over those without foreground."""
MOST_SLICES = 6
"""Slices of a volume from which tiles are taken."""
MOST_CHANNELS = 3
_FLOOR = 1e-3
"""Deviations (of the case's own) below which nothing is told apart."""

PER_CHANNEL = 7


@dataclass(frozen=True, eq=False)
class Tiles:
    """``features`` (n, PER_CHANNEL · channels) of tiles, and where each lies."""

    features: Floats
    boxes: tuple[Box, ...]


def tile_side(shape: tuple[int, int, int]) -> int:
    """Return the side of a tile for images of this size: an eighth of the shorter one, 8 to 64."""
    return int(np.clip(min(shape[1:]) // 8, 8, 64))


def describe_background(image: NDArray[Any], labels: NDArray[np.uint8], side: int) -> Tiles:
    """Return what the tiles of ``side`` without foreground look like.

    ``image`` is (C, z, y, x), ``labels`` (z, y, x) class indices. Every channel counts in its own
    deviations from its own mean, since training normalises so. The numbers of a channel are: mean;
    logarithms of the deviation, of the mean slope and of the deviation of blocks of 4 x 4; how
    directed its slopes are, along which direction (two numbers); skewness. Tiles in which a channel
    of the whole case is flat or that hold voxels to ignore are as others; a case without a free
    tile gives none.
    """
    boxes = _free_tiles(labels, side)
    channels = [_normalised(channel) for channel in image[:MOST_CHANNELS]]
    features = np.zeros((len(boxes), PER_CHANNEL * len(channels)), np.float32)
    for z in sorted({box[0][0] for box in boxes}):
        own = [k for k, box in enumerate(boxes) if box[0][0] == z]
        for number, channel in enumerate(channels):
            plane = channel[z]
            slope_y, slope_x = (ndimage.gaussian_filter1d(plane, 1.0, axis, 1) for axis in (0, 1))
            for k in own:
                _, (y0, y1), (x0, x1) = boxes[k]
                part = np.s_[y0:y1, x0:x1]
                features[k, PER_CHANNEL * number : PER_CHANNEL * (number + 1)] = _numbers(
                    plane[part], slope_y[part], slope_x[part]
                )
    return Tiles(features, tuple(boxes))


def _normalised(channel: NDArray[Any]) -> Floats:
    values: Floats = np.nan_to_num(channel.astype(np.float32), posinf=0.0, neginf=0.0)
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0), np.float32)


def _free_tiles(labels: NDArray[np.uint8], side: int) -> list[Box]:
    """Return at most MOST_TILES boxes of one slice without foreground, evenly spaced."""
    depth, height, width = labels.shape
    slices = np.unique(np.linspace(0, depth - 1, min(depth, MOST_SLICES) + 2).round()[1:-1])
    drawn = (labels > 0) & (labels != IGNORE)
    found: list[Box] = []
    for z in slices.astype(int) if depth > 1 else [0]:
        for y in range(0, height - side + 1, side):
            for x in range(0, width - side + 1, side):
                if not drawn[z, y : y + side, x : x + side].any():
                    found.append(((int(z), int(z) + 1), (y, y + side), (x, x + side)))
    if len(found) <= MOST_TILES:
        return found
    return [found[k] for k in np.linspace(0, len(found) - 1, MOST_TILES).round().astype(int)]


def _numbers(tile: Floats, slope_y: Floats, slope_x: Floats) -> list[float]:
    mean, spread = float(tile.mean()), float(tile.std())
    side = len(tile) // 4 * 4
    blocks = tile[:side, :side].reshape(side // 4, 4, side // 4, 4).mean(axis=(1, 3))
    yy, xx, yx = (float(v.mean()) for v in (slope_y**2, slope_x**2, slope_y * slope_x))
    power = max(yy + xx, _FLOOR**2)
    third = float(((tile - mean) ** 3).mean()) / max(spread, 0.05) ** 3
    return [
        mean,
        float(np.log(spread + _FLOOR)),
        float(0.5 * np.log(power)),
        float(np.log(float(blocks.std()) + _FLOOR)),
        (yy - xx) / power,
        2.0 * yx / power,
        float(np.clip(third, -3.0, 3.0)),
    ]
