"""Map the values of a patch to the grey levels of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.store.store import Store
from rareseg.report.figures.case_pictures import READABLE
from rareseg.report.figures.patch_sheet import Panel

LOOKED_AT = 100_000
"""Values of a case from which its black and its white are taken."""


@dataclass(frozen=True, eq=False)
class DisplayWindow:
    """How values become a picture: in the colours of a photograph, or by the first channel."""

    store: Store
    colours: bool
    words: str

    @classmethod
    def at(
        cls, store: Store, fingerprint: Fingerprint, names: tuple[str, ...] | None
    ) -> DisplayWindow:
        """Return how these cases are to be shown."""
        photographs = all(case.dimension == 2 for case in fingerprint.cases)
        colours = photographs and store.channels == 3
        words = ["in colour"] if colours else []
        if not colours and store.channels > 1:
            name = f" ({names[0]})" if names else ""
            words.append(f"channel 1 of {store.channels}{name}")
        if store.preprocessing.dimension == 3:
            words.append("the middle slice")
        return cls(store, colours, ", ".join(words) or "its one channel")

    def limits(self, case: int) -> tuple[float, float]:
        """Return the values of a case that are black and white in all of its patches."""
        table = self.store.cases
        channels = self.store.channels if self.colours else 1
        count = int(table.shape[case].prod()) * channels
        first = int(table.image_offset[case])
        some = self.store.images[first : first + count : max(1, count // LOOKED_AT)]
        low, high = np.percentile(some, [0.5, 99.9])
        if self.store.images.dtype == np.uint8 and high - low >= READABLE:
            return 0.0, 255.0
        return float(low), max(float(high), float(low) + 1e-6)

    def panel(
        self, case: int, image: Tensor, labels: Tensor, limits: tuple[float, float], caption: str
    ) -> Panel:
        """Return the panel of one patch (C, *patch); of volumes the middle slice."""
        low, high = limits
        scaled = 255.0 * (self._values(case, image) - low) / (high - low)
        shown = np.clip(scaled + 0.5, 0, 255).astype(np.uint8)
        plane = labels[len(labels) // 2] if labels.ndim == 3 else labels
        return Panel(np.moveaxis(shown, 0, -1).squeeze(), plane.numpy(), caption)

    def _values(self, case: int, image: Tensor) -> NDArray[np.float32]:
        """Return the channels that are shown (C, y, x), in the numbers that the store holds."""
        used = image if self.colours else image[:1]
        plane = used[:, used.shape[1] // 2] if used.ndim == 4 else used
        scale = self.store.cases.scale[case, : len(used), None, None]
        offset = self.store.cases.offset[case, : len(used), None, None]
        values: NDArray[np.float32] = (plane.numpy() - offset) / scale
        return values
