"""What a sampler really delivered, beside what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import IGNORE


@dataclass(frozen=True)
class Composition:
    """The patches delivered so far.

    ``pools`` are names; ``asked`` the shares asked for, ``drawn`` those after the rule for empty
    pools, ``centres`` the patches centred in each. ``classes`` are names; ``voxels`` counts theirs
    in all patches and ``ignored`` the voxels that count nowhere (outside the image, or labelled
    so). ``with_foreground`` counts the patches that hold any foreground voxel.
    """

    patches: int
    pools: tuple[str, ...]
    asked: tuple[float, ...]
    drawn: tuple[float, ...]
    centres: tuple[int, ...]
    classes: tuple[str, ...]
    voxels: tuple[int, ...]
    ignored: int
    with_foreground: int

    @property
    def prior(self) -> tuple[float, ...]:
        """The share of each class among the voxels that count: the prior that was trained under."""
        total = sum(self.voxels)
        return tuple(count / total if total else 0.0 for count in self.voxels)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; :meth:`from_dict` gives the same record back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Composition:
        """Make the record from what :meth:`to_dict` wrote, lists being tuples again."""
        fixed: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**fixed)


class Tally:
    """Running counts over the batches that were handed out."""

    def __init__(self, pools: int) -> None:
        self.centres: NDArray[np.int64] = np.zeros(pools, np.int64)
        self.voxels: NDArray[np.int64] = np.zeros(IGNORE + 1, np.int64)
        self.with_foreground = 0

    def add(self, pool: NDArray[np.int16], voxels: NDArray[np.int64], with_foreground: int) -> None:
        """Add one batch: its patches' pools, voxels by class index (256,), positive patches."""
        self.centres += np.bincount(pool, minlength=len(self.centres))
        self.voxels += voxels
        self.with_foreground += with_foreground

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, to be saved in a checkpoint."""
        return {
            "centres": self.centres.tolist(),
            "voxels": self.voxels.tolist(),
            "with_foreground": self.with_foreground,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Tally:
        """Go on from the numbers that :meth:`to_dict` gave."""
        tally = cls(len(values["centres"]))
        tally.centres += values["centres"]
        tally.voxels += values["voxels"]
        tally.with_foreground = int(values["with_foreground"])
        return tally

    def composition(
        self,
        *,
        pools: Sequence[str],
        asked: NDArray[np.float64],
        drawn: NDArray[np.float64],
        classes: Sequence[str],
    ) -> Composition:
        """Return the counts with their names."""
        return Composition(
            patches=int(self.centres.sum()),
            pools=tuple(pools),
            asked=tuple(asked.tolist()),
            drawn=tuple(drawn.tolist()),
            centres=tuple(self.centres.tolist()),
            classes=tuple(classes),
            voxels=tuple(self.voxels[: len(classes)].tolist()),
            ignored=int(self.voxels[IGNORE]),
            with_foreground=self.with_foreground,
        )


def count_classes(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
    """Return the voxels per class index, (256,), and the number of patches with foreground.

    ``labels`` is uint8 (B, *patch).
    """
    voxels = np.zeros(IGNORE + 1, np.int64)
    size = labels.shape[-1]
    positive = _count(np.ascontiguousarray(labels).reshape(len(labels), -1, size), voxels)
    return voxels, int(positive)


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _count(labels, voxels):  # type: ignore[no-untyped-def]
    """Add up classes row by row; most rows are of one class and are counted at once."""
    positives = 0
    for b in range(labels.shape[0]):
        positive = False
        for r in range(labels.shape[1]):
            row = labels[b, r]
            first = row[0]
            differs = np.uint8(0)
            for i in range(len(row)):
                differs |= row[i] ^ first
            if differs == 0:
                voxels[first] += len(row)
                positive |= first != 0 and first != IGNORE
            else:
                for i in range(len(row)):
                    value = row[i]
                    voxels[value] += 1
                    positive |= value != 0 and value != IGNORE
        positives += positive
    return positives
