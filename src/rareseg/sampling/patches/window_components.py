"""Cut the component numbers of the whole image with the windows, for losses by component.

The components of all cases are found once, when a sampler begins, and kept as runs of consecutive
voxels, as pools are: what is rare takes little memory. Cutting looks them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rareseg.data.pieces import Pieces, find_pieces
from rareseg.data.store.store import Store
from rareseg.sampling.patches.places import Places
from rareseg.sampling.pools.windows import as_zyx

Regions = Sequence[Sequence[int]]
"""The class indices of each region."""


@dataclass(frozen=True, eq=False)
class Components:
    """The K components of R regions that B windows hold of, by P pieces, all on the CPU.

    ``pieces`` int32 ``(B, *window)`` is 0 where there is no foreground, else 1…P: a piece is what
    is connected of one class, and in any two neighbouring voxels of one class the same.
    ``component`` int64 (P + 1, R) is the component of each region that a piece is part of, 0 where
    it is in none; they are counted 1…K over all regions. ``whole`` int64 (K + 1,) are the voxels of
    each in its whole image, of which a window may hold any part. ``magnified`` float64 (B,): the
    voxels of a window that one of its image became, other than 1 after an augmentation alone.
    """

    pieces: Tensor
    component: Tensor
    whole: Tensor
    magnified: Tensor

    def pasted(self, window: int, labels: Tensor, regions: Regions) -> Components:
        """Return the record after objects were pasted into one of the windows.

        ``labels`` ``(*window)`` are their class indices, 0 where the window is as it was. Each of
        their components is one of its own, whole as it was pasted. What they cover is lost to the
        components that were there.
        """
        found = components_in(labels.unsqueeze(0), regions)
        pieces = self.pieces.clone()
        new = found.pieces[0]
        pieces[window] = torch.where(new > 0, new + (len(self.component) - 1), pieces[window])
        theirs = found.component[1:]
        shifted = torch.where(theirs > 0, theirs + (len(self.whole) - 1), 0)
        return replace(
            self,
            pieces=pieces,
            component=torch.cat([self.component, shifted]),
            whole=torch.cat([self.whole, found.whole[1:]]),
        )


@dataclass(frozen=True, eq=False)
class ComponentMap:
    """The K components of R regions in all cases of a store, by n runs of P pieces.

    ``starts`` and ``ends`` (n,) int64 are places in the store's flat labels, ascending; ``pieces``
    (n,) int32 the piece of each. ``component`` (P + 1, R) int32 and ``whole`` (K + 1,) int64 are as
    in :class:`Components`.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    pieces: NDArray[np.int32]
    component: NDArray[np.int32]
    whole: NDArray[np.int64]


def map_components(store: Store, *, by_plane: bool) -> ComponentMap:
    """Find the components of every region in every case of a store, in one pass over the labels.

    ``by_plane`` takes each axial plane for an image of its own, as patches of two axes do.
    """
    regions = tuple(store.classes.regions.values())
    found, runs = [], [np.zeros((3, 0), np.int64)]
    before = 0
    for row in range(len(store)):
        labels = store.label(row)
        one = find_pieces(labels, regions, by_plane=by_plane)
        if len(one.component) > 1:
            starts, ends, pieces = _runs_of(one, labels.shape)
            offset = store.cases.label_offset[row]
            runs.append(np.stack([starts + offset, ends + offset, pieces + before]))
            before += len(one.component) - 1
            found.append(one)
    starts, ends, pieces = np.concatenate(runs, axis=1)
    component, whole = _tables_of(found, len(regions))
    return ComponentMap(starts, ends, pieces.astype(np.int32), component, whole)


def cut_components(
    known: ComponentMap, store: Store, places: Places, *, patch_size: Sequence[int]
) -> Components:
    """Cut the components out at places, as labels are cut.

    Outside the image there are none. Pieces and components are numbered anew: those alone are in
    the tables of which a window holds a voxel.
    """
    patch = as_zyx(patch_size)
    pieces = np.zeros((len(places), *patch_size), np.int32)
    number = np.zeros(len(known.component), np.int32)
    seen = np.zeros(len(known.component), np.int32)
    count = _cut_pieces(
        known.starts,
        known.ends,
        known.pieces,
        store.cases.label_offset,
        store.cases.shape,
        places.case,
        places.corner,
        patch,
        number,
        seen,
        pieces.reshape(-1),
    )
    kept, component = np.unique(known.component[seen[: count + 1]], return_inverse=True)
    return Components(
        pieces=torch.from_numpy(pieces),
        component=torch.from_numpy(component.reshape(count + 1, -1).astype(np.int64)),
        whole=torch.from_numpy(known.whole[kept]),
        magnified=torch.ones(len(places), dtype=torch.float64),
    )


def components_in(labels: Tensor, regions: Regions) -> Components:
    """Return the components of windows of which nothing but the labels is known.

    ``labels`` (B, *window) are class indices on any device; what a window holds of a component is
    then all there is of it.
    """
    windows = labels.to("cpu", torch.uint8).numpy()
    pieces = np.zeros(windows.shape, np.int32)
    found = []
    before = 0
    for window, labelled in zip(pieces, windows, strict=True):
        one = find_pieces(labelled.reshape(as_zyx(labelled.shape)), regions)
        z, y, x = one.corner
        depth, height, width = one.numbers.shape
        box = window.reshape(as_zyx(window.shape))[z : z + depth, y : y + height, x : x + width]
        box[...] = np.where(one.numbers > 0, one.numbers + before, 0)
        before += len(one.component) - 1
        found.append(one)
    component, whole = _tables_of(found, len(regions))
    return Components(
        pieces=torch.from_numpy(pieces),
        component=torch.from_numpy(component.astype(np.int64)),
        whole=torch.from_numpy(whole),
        magnified=torch.ones(len(labels), dtype=torch.float64),
    )


def _tables_of(
    found: Sequence[Pieces], regions: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Join the tables of several images, whose pieces and components are numbered on."""
    component, whole = [np.zeros((1, regions), np.int32)], [np.zeros(1, np.int64)]
    before = 0
    for one in found:
        component.append(np.where(one.component[1:] > 0, one.component[1:] + np.int32(before), 0))
        whole.append(one.whole[1:])
        before += len(one.whole) - 1
    return np.concatenate(component), np.concatenate(whole)


def _runs_of(
    found: Pieces, shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where the runs of pieces start and end in the flat image, and the piece of each."""
    rows = np.pad(found.numbers, ((0, 0), (0, 0), (1, 1)))
    # Where the number changes from one voxel of a row to the next; a row ends with a change to 0.
    z, y, x = np.nonzero(rows[..., 1:] != rows[..., :-1])
    piece = rows[z, y, x + 1].astype(np.int64)
    z, y = z + found.corner[0], y + found.corner[1]
    place = (z * shape[1] + y) * shape[2] + x + found.corner[2]
    begins = np.flatnonzero(piece)
    return place[begins], place[begins + 1], piece[begins]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _cut_pieces(  # type: ignore[no-untyped-def]
    starts, ends, pieces, offsets, shape, cases, corners, patch, number, seen, out
):
    """Fill flat ``out``, which arrives as zeros; return how many pieces there are.

    ``number`` becomes the new number of a piece, and ``seen`` the old one of a new.
    """
    depth, height, width = patch
    count = 0
    for b in range(len(cases)):
        case = cases[b]
        Z, Y, X = np.int64(shape[case, 0]), np.int64(shape[case, 1]), np.int64(shape[case, 2])
        z0, y0, x0 = np.int64(corners[b, 0]), np.int64(corners[b, 1]), np.int64(corners[b, 2])
        left, right = max(x0, 0), min(x0 + width, X)
        low = np.searchsorted(starts, offsets[case])
        high = np.searchsorted(starts, offsets[case] + Z * Y * X)
        if low == high or left >= right:
            continue
        for z in range(z0, z0 + depth):
            for y in range(y0, y0 + height):
                if not (0 <= z < Z and 0 <= y < Y):
                    continue
                row = offsets[case] + (z * Y + y) * X
                begin = ((b * depth + z - z0) * height + y - y0) * width - x0
                run = low + np.searchsorted(ends[low:high], row + left, side="right")
                while run < high and starts[run] < row + right:
                    piece = pieces[run]
                    if number[piece] == 0:
                        count += 1
                        number[piece], seen[count] = count, piece
                    first, end = max(starts[run] - row, left), min(ends[run] - row, right)
                    for x in range(first, end):
                        out[begin + x] = number[piece]
                    run += 1
    return count
