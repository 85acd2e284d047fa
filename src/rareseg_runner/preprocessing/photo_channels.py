"""Convert photographs between grey and colour, as a model needs them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rareseg_runner.image_records import Image

COLOURS = 3
"""Channels of a photograph in colour: red, green and blue."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""How much of red, green and blue is in grey: ITU-R BT.601, as Pillow's mode L."""


def with_channels(image: Image, channels: int) -> tuple[Image, str | None]:
    """Return a photograph with ``channels`` channels, and in words what was converted.

    A grey photograph is repeated where three channels are wanted; a coloured one is weighted to
    grey where one is wanted, rounded where its numbers are whole. Everything else, volumes above
    all, is returned as it is with None: what its channels mean is not known.
    """
    has = len(image.array)
    if image.geometry.dimension != 2 or {has, channels} != {1, 3}:
        return image, None
    if has == 1:
        return replace(image, array=np.repeat(image.array, 3, axis=0)), "grey, repeated as colours"
    grey = np.tensordot(GREY_WEIGHTS, image.array.astype(np.float64), axes=1)[np.newaxis]
    if image.array.dtype.kind in "iu":
        grey = np.rint(grey)
    return replace(image, array=grey.astype(image.array.dtype)), "coloured, converted to grey"
