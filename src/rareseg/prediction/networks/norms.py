"""Names of norms in the recipe, as MONAI spells them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def monai_norm(
    norm: str, width: Sequence[int], *, groups: int | None = None
) -> tuple[str, dict[str, object]]:
    """Return MONAI's name of a norm and its arguments.

    Group norm takes ``groups`` groups, otherwise the largest number up to 8 that divides every
    width.
    """
    if norm == "group":
        return ("group", {"num_groups": groups or math.gcd(8, *width)})
    return (norm, {"affine": True})
