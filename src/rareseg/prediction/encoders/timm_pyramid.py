"""Feature pyramids of timm, an extra."""

from __future__ import annotations

from rareseg.errors import RecipeError, nearest
from rareseg.prediction.encoders import efficientnet_lite as lite
from rareseg.prediction.encoders.registry import Encoder


def timm_encoder(name: str) -> Encoder:
    """Return the feature pyramid that timm calls ``name``.

    Raises :class:`RecipeError` where timm is missing, cannot be imported beside this torch, or
    knows no such network.
    """
    raise RecipeError(
        f"network.encoder is {name!r}{nearest(name, lite.NAMES)}; allowed are "
        f"{', '.join(lite.NAMES)}, none, and with `pip install 'rareseg[encoders]'` the names of "
        "timm."
    )
