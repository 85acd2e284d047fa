"""What a sampler hands out: patches, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.sampling.patches import Places


@dataclass(frozen=True, eq=False)
class Batch:
    """B patches: ``images`` float32 and ``class_indices`` uint8, and their places.

    Images are (B, C, *patch), class indices (B, *patch), ``IGNORE`` = 255. ``voxels`` (256,) counts
    the indices, and ``with_foreground`` the patches that hold any foreground. ``number`` is k of
    batch k.
    """

    images: torch.Tensor
    class_indices: torch.Tensor
    places: Places
    voxels: NDArray[np.int64]
    with_foreground: int
    number: int

    @cached_property
    def labels(self) -> torch.Tensor:
        """The class indices as int64, which losses ask for; made when first asked for.

        On a GPU it is faster to move ``class_indices``, an eighth of the bytes, and to make them
        ``long()`` there.
        """
        return self.class_indices.long()
