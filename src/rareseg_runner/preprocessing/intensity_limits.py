"""Find intensities so far from all others that they would leave the others a few levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDE = 1024.0
"""From so many widths of the bulk on, a range leaves the bulk fewer than 64 of 65,536 levels."""
KEPT = 64.0
"""So many widths beside the bulk, values are kept."""
FILL = 1e-3
"""The share of voxels from which one value at the end of the range is a fill value."""
_SAMPLED = 200_000
USUAL_FILLS = (-999.0, -9999.0, -32767.0, -32768.0, -99999.0, -999999.0, 9999.0, 99999.0)
"""Numbers that programs write where nothing was measured."""
HUGE = 1e19
"""Numbers beyond this are fills too: 1e20 of climate models, 9.97e36 of netCDF, float32's ends."""
APART = 0.25
"""A usual fill lies at least so far from all others, in parts of their range."""


@dataclass(frozen=True)
class Limits:
    """Between what intensities are kept: ``low`` and ``high``, in raw values.

    ``fill`` is the value that stands for "nothing was measured", taken as ``low`` (or ``high``,
    where it lies above); None without. ``n_outside`` counts the voxels beyond the limits, ``least``
    and ``most`` are the range as it is.
    """

    low: float
    high: float
    fill: float | None
    n_outside: int
    least: float
    most: float

    def apply(self, channel: NDArray[Any]) -> NDArray[Any]:
        """Return a channel with everything beyond the limits moved to them, of its own type."""
        return channel.clip(self.low, self.high)


def find_limits(channel: NDArray[Any]) -> Limits | None:
    """Return the limits of a channel, any shape, finite; None where no value lies far away.

    The bulk reaches from the 0.5 to the 99.5 percentile (of at most 200,000 evenly spaced voxels)
    of what is not a fill value: the least or the greatest value, where it is held by at least
    ``FILL`` of the voxels and lies further away than the bulk is wide. A range of more than
    ``WIDE`` times the bulk's width is cut to ``KEPT`` times, at both ends; 65,536 levels then leave
    500 to the bulk. A fill value that stretches the range so is moved to the end of the bulk.
    """
    if channel.size == 0 or channel.dtype.kind not in "iuf":
        return None
    least, most = float(channel.min()), float(channel.max())
    if least == most:
        return None
    flat = channel.ravel()
    sample = flat[:: -(-flat.size // _SAMPLED)].astype(np.float64)
    fills = [end for end in (least, most) if np.mean(sample == end) >= FILL]
    rest = sample[~np.isin(sample, fills)]
    if rest.size == 0:
        return None
    inner = [float(rest.min()), float(rest.max())]
    bulk = [float(value) for value in np.percentile(rest, (0.5, 99.5))]
    width = bulk[1] - bulk[0]
    # A mask-like image of two values has no bulk beside them.
    if width <= 0 or most - least <= WIDE * width:
        return None
    low, high = max(least, bulk[0] - KEPT * width), min(most, bulk[1] + KEPT * width)
    fill = None
    for end in fills:
        away = inner[0] - end if end == least else end - inner[1]
        if away > KEPT * width:
            fill = end
            low, high = (max(low, inner[0]), high) if end == least else (low, min(high, inner[1]))
    outside = int(np.count_nonzero((channel < low) | (channel > high)))
    return Limits(low, high, fill, outside, least, most) if outside else None


def usual_fill(channel: NDArray[Any]) -> float | None:
    """Return the number of a channel, any shape, that programs write where nothing was measured.

    It is the least or the greatest value, one of ``USUAL_FILLS`` or beyond ``HUGE``, and lies apart
    from all others (of at most 200,000 evenly spaced voxels). One voxel is enough: such numbers are
    no noise. None in bytes, in unsigned numbers, of which the largest is where a sensor is full,
    and where no other value is there.
    """
    if channel.size == 0 or channel.dtype.kind not in "if" or channel.dtype.itemsize < 2:
        return None
    with np.errstate(invalid="ignore"):
        ends = [float(end) for end in (np.nanmin(channel), np.nanmax(channel))]
    fills = [end for end in ends if end in USUAL_FILLS or HUGE < abs(end) < np.inf]
    if not fills or ends[0] == ends[1]:
        return None
    flat = channel.ravel()
    sample = flat[:: -(-flat.size // _SAMPLED)].astype(np.float64)
    rest = sample[np.isfinite(sample) & ~np.isin(sample, fills)]
    if rest.size == 0:
        return None
    low, high = float(rest.min()), float(rest.max())
    for fill in fills:
        away = low - fill if fill < low else fill - high
        if away > APART * (high - low):
            return fill
    return None
