"""Repeat the channel of a grey photograph where photographs in colour are expected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rareseg.data.records import Image

COLOURS = 3
"""Channels of a photograph in colour: red, green and blue."""


def repeat_grey(image: Image, channels: int) -> Image:
    """Return a grey photograph (1, 1, y, x) as red, green and blue where ``channels`` is 3.

    Anything else, volumes too, is returned as it is.
    """
    if channels != COLOURS or len(image.array) != 1 or image.geometry.dimension != 2:
        return image
    return replace(image, array=np.repeat(image.array, COLOURS, axis=0))
