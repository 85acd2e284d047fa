"""Record of a batch of patches, and the cutter that makes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.data.store.store import Store
from rareseg.sampling.patches.cutting import cut
from rareseg.sampling.patches.places import Places
from rareseg.sampling.patches.window_components import ComponentMap, Components, cut_components
from rareseg.sampling.pools.windows import Border, as_zyx


@dataclass(frozen=True, eq=False)
class Batch:
    """B patches: ``images`` float32 and ``class_indices`` uint8, and their places.

    Images are ``(B, C, *patch)``, class indices ``(B, *patch)``, ``IGNORE`` = 255. ``voxels``
    (256,) counts the indices, and ``with_foreground`` the patches that hold any foreground.
    ``number`` is k of batch k. ``components``, where the sampler was asked for them, tell which
    component of its whole image each voxel belongs to; they stay on the CPU.
    """

    images: torch.Tensor
    class_indices: torch.Tensor
    places: Places
    voxels: NDArray[np.int64]
    with_foreground: int
    number: int
    components: Components | None = None

    @cached_property
    def labels(self) -> torch.Tensor:
        """The class indices as int64, which losses ask for; made when first asked for.

        On a GPU it is faster to move ``class_indices``, an eighth of the bytes, and to make them
        ``long()`` there.
        """
        return self.class_indices.long()

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch with both tensors on a device; Lightning calls it by itself."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            class_indices=self.class_indices.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Batch:
        """Return the batch with both tensors in pinned memory; a ``DataLoader`` calls it."""
        return replace(
            self, images=self.images.pin_memory(), class_indices=self.class_indices.pin_memory()
        )


@dataclass(frozen=True, eq=False)
class Cutter:
    """What turns places into batches: all that a worker process needs, a path and a few numbers.

    ``patch_size`` is that of the places, ``cut_size`` of the windows that are cut about them.
    ``components`` are those of the store, where batches are to have them.
    """

    store: Store
    patch_size: tuple[int, ...]
    cut_size: tuple[int, ...]
    border: Border
    components: ComponentMap | None = None

    @property
    def margin(self) -> NDArray[np.int64]:
        """How much further than the patch a window reaches on either side, (z, y, x)."""
        margin: NDArray[np.int64] = np.subtract(as_zyx(self.cut_size), as_zyx(self.patch_size)) // 2
        return margin

    @property
    def beyond(self) -> Border:
        """What a window shows beyond its image."""
        # Only what is cut about a patch can lie outside where patches are shifted inside.
        return "reflect" if self.border == "shift" and self.margin.any() else self.border

    def within(self, windows: Places) -> NDArray[np.int64]:
        """Return which part of each window lies within its image, (B, D, 2): first voxel and end.

        ``windows`` are the places of whole windows, D the axes of ``cut_size``.
        """
        size, shape = as_zyx(self.cut_size), self.store.cases.shape[windows.case]
        first, end = np.maximum(-windows.corner, 0), np.minimum(shape - windows.corner, size)
        return np.stack([first, end], 2)[:, -len(self.cut_size) :].astype(np.int64)

    def batch(self, number: int, places: Places) -> Batch:
        """Cut the batch of a number at its places, in the calling thread alone."""
        windows = places.widened(self.margin.tolist())
        patches = cut(self.store, windows, patch_size=self.cut_size, border=self.beyond)
        components = None
        if self.components is not None:
            components = cut_components(
                self.components, self.store, windows, patch_size=self.cut_size
            )
        return Batch(
            images=torch.from_numpy(patches.images),
            class_indices=torch.from_numpy(patches.labels),
            places=places,
            voxels=patches.voxels,
            with_foreground=patches.with_foreground,
            number=number,
            components=components,
        )
