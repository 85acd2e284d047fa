"""List labels that mining set aside as suspect, region by region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.store.store import Store
from rareseg.sampling.pools.mined_pools import MinedPools
from rareseg_runner.components import label_components


@dataclass(frozen=True)
class MinedSuspect:
    """One connected region that the network takes for another class, again and again.

    ``box`` is (first, end) per axis z, y, x, in voxels of the store's grid. ``rounds`` is for how
    many rounds in a row, up to the last one, the voxel suspected longest was suspected.
    """

    case: str
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    true: str
    predicted: str
    rounds: int
    voxels: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MinedSuspect:
        """Make the record from what JSON has kept of it, lists being tuples again."""
        z, y, x = (tuple(ends) for ends in values["box"])
        return cls(**{**values, "box": (z, y, x)})


def list_suspects(store: Store, mined: MinedPools) -> tuple[MinedSuspect, ...]:
    """Return the regions that are set aside, the largest first.

    A region is a connected component of voxels of one true and one predicted class. Where mining
    judged a subset, its voxels mostly stand alone.
    """
    under = mined.suspicion
    aside = under.where(mined.set_aside.contains(under.starts))
    found: list[MinedSuspect] = []
    for row in range(len(store)):
        label = store.label(row)
        first = int(store.cases.label_offset[row])
        places, rounds, predicted = aside.within(first, label.size).voxels()
        if len(places):
            found += _regions(store, row, places - first, rounds, predicted)
    return tuple(sorted(found, key=lambda suspect: (-suspect.voxels, suspect.case, suspect.box)))


def _regions(
    store: Store,
    row: int,
    places: NDArray[np.int64],
    rounds: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
) -> Iterator[MinedSuspect]:
    """Yield the regions of one case; ``places`` (n,) count from its first voxel."""
    label = store.label(row)
    names = store.classes.names
    where = np.stack(np.unravel_index(places, label.shape), axis=1)
    low = where.min(axis=0)
    box = np.zeros(where.max(axis=0) - low + 1, bool)
    inside = where - low
    true = label.reshape(-1)[places]
    for kind in np.unique(np.stack([true, predicted], axis=1), axis=0):
        members = (true == kind[0]) & (predicted == kind[1])
        at = tuple(inside[members].T)
        box[...] = False
        box[at] = True
        regions, count = label_components(box)
        region = regions[at]
        for number in range(1, count + 1):
            voxels = where[members][region == number]
            ends = zip(voxels.min(axis=0).tolist(), (voxels.max(axis=0) + 1).tolist(), strict=True)
            z, y, x = ends
            yield MinedSuspect(
                case=store.cases.ids[row],
                box=(z, y, x),
                true=names[kind[0]],
                predicted=names[kind[1]],
                rounds=int(rounds[members][region == number].max()),
                voxels=len(voxels),
            )
