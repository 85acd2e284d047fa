"""Find, pack, look up and combine runs of consecutive voxels.

A packed run takes four bytes: how far it begins behind the one before, and how long it is. Every
64th entry is noted with its place and the voxels before it, so that a look-up reads one block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

FULL = 65535
"""The largest gap or length of one entry; what is longer takes several."""

BLOCK = 64
"""Entries between two notes of place and rank, and bytes that are compared at once."""

Runs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""R ascending runs that do not overlap: where each starts (R,), and its length (R,), at least 1."""


@dataclass(frozen=True, eq=False)
class PackedRuns:
    """Runs in E entries of four bytes.

    ``entries`` (E, 2) uint16 are a gap and the length of what follows it. A length of ``FULL`` goes
    on in the next entry; an entry of length 0 lengthens a gap, or ends a run that would go on.
    ``block_places`` (B,) and ``block_ranks`` (B + 1,) int64 are the place and the number of voxels
    before each block of 64 entries, and at last the total.
    """

    entries: NDArray[np.uint16]
    block_places: NDArray[np.int64]
    block_ranks: NDArray[np.int64]

    @property
    def size(self) -> int:
        """The number of voxels."""
        return int(self.block_ranks[-1])

    @property
    def nbytes(self) -> int:
        """The memory that the runs take, in bytes."""
        return self.entries.nbytes + self.block_places.nbytes + self.block_ranks.nbytes

    def unpacked(self) -> Runs:
        """Return the runs as they were packed."""
        lengths = self.entries[:, 1].astype(np.int64)
        goes_on = np.append(False, lengths == FULL)[:-1]
        first = np.flatnonzero((lengths > 0) & ~goes_on)
        if not len(first):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        places = np.cumsum(self.entries.sum(axis=1, dtype=np.int64)) - lengths
        return places[first], np.add.reduceat(lengths, first)

    def at(self, rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of voxel number ``rank``; raise :class:`IndexError` where none is."""
        wanted = np.asarray(rank, np.int64)
        out = np.empty(wanted.size, np.int64)
        if not _look_up(self.entries, self.block_places, self.block_ranks, wanted.reshape(-1), out):
            raise IndexError(f"a rank is not in 0 … {self.size - 1}")
        return out.reshape(wanted.shape)

    def contains(self, place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each place whether a run holds it."""
        wanted = np.asarray(place, np.int64)
        out = np.empty(wanted.size, np.bool_)
        _contains(self.entries, self.block_places, wanted.reshape(-1), out)
        return out.reshape(wanted.shape)


class Packer:
    """Packs runs part by part; runs of different parts stay apart, also where they touch."""

    def __init__(self) -> None:
        self._entries: list[NDArray[np.uint16]] = [np.zeros((0, 2), np.uint16)]
        self._end = 0

    def add(self, runs: Runs) -> int:
        """Append a part that lies behind all parts before; return the number of its voxels."""
        starts, lengths = runs
        if not len(starts):
            return 0
        gaps = np.diff(starts, prepend=self._end)
        gaps[1:] -= lengths[:-1]
        entries = np.empty((int((gaps // FULL + lengths // FULL + 1).sum()), 2), np.uint16)
        _pack(gaps, lengths, entries)
        self._entries.append(entries)
        self._end = int(starts[-1] + lengths[-1])
        return int(lengths.sum())

    def packed(self) -> PackedRuns:
        """Return all that was added."""
        entries = np.concatenate(self._entries)
        places = np.cumsum(entries.sum(axis=1, dtype=np.int64))[BLOCK - 1 :: BLOCK]
        ranks = np.cumsum(entries[:, 1], dtype=np.int64)
        blocks = -(-len(entries) // BLOCK)
        return PackedRuns(
            entries=entries,
            block_places=np.append(0, places)[:blocks],
            block_ranks=np.concatenate([[0], ranks[BLOCK - 1 :: BLOCK], ranks[-1:]])[: blocks + 1],
        )


def find_runs(flat: NDArray[Any]) -> tuple[Runs, NDArray[np.uint8]]:
    """Return the runs of equal values in a flat uint8 or bool array, and the value of each."""
    starts, values = _find(flat.view(np.uint8))
    return (starts, np.diff(starts, append=flat.size)), values


def combine(first: Runs, second: Runs, *, only_first: bool, only_second: bool, both: bool) -> Runs:
    """Return the runs of what lies in the first alone, in the second alone or in both, as asked.

    Runs that touch become one.
    """
    edges = [np.stack([starts, starts + n], axis=1).reshape(-1) for starts, n in (first, second)]
    met = _sweep(*edges, (False, only_first, only_second, both))
    return met[0::2], np.diff(met)[0::2]


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _pack(gaps, lengths, entries):  # type: ignore[no-untyped-def]
    e = 0
    # Entries are counted beforehand by :meth:`Packer.add`, so that the array never grows here.
    for run in range(len(gaps)):
        gap, length = gaps[run], lengths[run]
        # A gap or length beyond 16 bits goes on in further entries with an empty run or gap.
        while gap >= FULL:
            entries[e, 0], entries[e, 1] = FULL, 0
            gap -= FULL
            e += 1
        while length >= FULL:
            entries[e, 0], entries[e, 1] = gap, FULL
            gap = 0
            length -= FULL
            e += 1
        entries[e, 0], entries[e, 1] = gap, length
        e += 1


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _block(before, value):  # type: ignore[no-untyped-def]
    """Return the last index at which ascending ``before`` is at most ``value``; −1: none is."""
    low, high = -1, len(before)
    while high - low > 1:
        middle = (low + high) >> 1
        if before[middle] <= value:
            low = middle
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _look_up(entries, block_places, block_ranks, ranks, out):  # type: ignore[no-untyped-def]
    for i in range(len(ranks)):
        rank = ranks[i]
        if not 0 <= rank < block_ranks[-1]:
            return False
        block = _block(block_ranks[:-1], rank)
        place, rank = block_places[block], rank - block_ranks[block]
        e = block * BLOCK
        while True:
            gap, length = np.int64(entries[e, 0]), np.int64(entries[e, 1])
            if rank < length:
                break
            place += gap + length
            rank -= length
            e += 1
        out[i] = place + gap + rank
    return True


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _contains(entries, block_places, places, out):  # type: ignore[no-untyped-def]
    for i in range(len(places)):
        out[i] = False
        block = _block(block_places, places[i])
        if block < 0:
            continue
        # Only one block of entries is walked, since every block knows the place before it.
        ahead = places[i] - block_places[block]
        for e in range(block * BLOCK, min((block + 1) * BLOCK, len(entries))):
            gap, length = np.int64(entries[e, 0]), np.int64(entries[e, 1])
            if ahead < gap + length:
                out[i] = ahead >= gap
                break
            ahead -= gap + length


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _find(flat):  # type: ignore[no-untyped-def]
    """Return where runs of equal bytes begin and their values; blocks of one value are skipped."""
    starts = np.empty(256, np.int64)
    values = np.empty(256, np.uint8)
    n, size = 0, len(flat)
    value = np.uint8(0)
    for first in range(0, size, BLOCK):
        block = flat[first : first + BLOCK]
        differs = np.uint8(first == 0)
        for i in range(len(block)):
            differs |= block[i] ^ value
        # Without a branch in the loop above, a block of one value is compared at memory speed.
        if differs == 0:
            continue
        if n + BLOCK > len(starts):
            starts = np.append(starts, np.empty_like(starts))
            values = np.append(values, np.empty_like(values))
        for i in range(len(block)):
            if block[i] != value or first + i == 0:
                value = block[i]
                starts[n], values[n] = first + i, value
                n += 1
    return starts[:n].copy(), values[:n].copy()


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _sweep(first, second, keep):  # type: ignore[no-untyped-def]
    """Go over the edges of both in order; an odd number of edges behind one lies inside of it."""
    out = np.empty(len(first) + len(second), np.int64)
    n, i, j = 0, 0, 0
    inside = False
    while i < len(first) or j < len(second):
        if j == len(second) or (i < len(first) and first[i] <= second[j]):
            place = first[i]
        else:
            place = second[j]
        while i < len(first) and first[i] == place:
            i += 1
        while j < len(second) and second[j] == place:
            j += 1
        wanted = keep[(i & 1) + 2 * (j & 1)]
        if wanted != inside:
            out[n] = place
            n += 1
            inside = wanted
    return out[:n].copy()
