"""Visit the voxels of a pool in random permutations, without storing one."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
"""Rounds of the permutation; three are proven enough where the round function is random (Luby and
Rackoff 1988), ours only mixes well."""


def permuted_ranks(nth: NDArray[np.int64], size: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return the ranks, 0 ≤ rank < ``size``, that the draws number ``nth`` (n,) of a pool get.

    Draws 0 … size − 1 get every rank once, the next ``size`` draws again in another order, and so
    on. The order is a function of ``seed`` alone, and needs no memory: a Feistel network over the
    next power of four, walked until it falls below ``size`` (Black and Rogaway 2002, Ciphers with
    arbitrary finite domains, method 2).
    """
    keys = np.random.SeedSequence(list(seed)).generate_state(ROUNDS, np.uint64)
    half = max(1, -(-int(size - 1).bit_length() // 2))
    out = np.empty(len(nth), np.int64)
    _permute(nth, size, half, keys, out)
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def _permute(nth, size, half, keys, out):  # type: ignore[no-untyped-def]
    # Unsigned throughout: numba turns int64 mixed with uint64 into float64.
    bits = np.uint64(half)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    for i in range(len(nth)):
        lap, place = np.uint64(nth[i] // size), np.uint64(nth[i] % size)
        # Walk the cycle until a rank below size is met: the permutation of the larger range stays
        # one on the smaller, and fewer than four steps are taken on average.
        while True:
            left, right = place >> bits, place & mask
            for key in keys:
                left, right = right, left ^ (mixed(right ^ mixed(lap ^ key)) & mask)
            place = left << bits | right
            if place < np.uint64(size):
                break
        out[i] = np.int64(place)


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def mixed(word):  # type: ignore[no-untyped-def]
    """Return 64 bits in which every bit depends on all bits of ``word`` (splitmix64's finish)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
