"""Runs come back as they were packed, wherever their lengths and gaps lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.sampling.pools.run_lengths import BLOCK, FULL, Packer, Runs, combine, find_runs

steps = st.one_of(
    st.integers(0, 5),
    st.sampled_from([FULL - 1, FULL, FULL + 1, 2 * FULL, 2 * FULL + 1, 5 * FULL]),
)
"""Gaps and lengths, those about the ends of an entry among them."""


@st.composite
def parts(draw: st.DrawFn) -> list[Runs]:
    """Runs in several parts; runs of one part are apart, those of two may touch."""
    out, place = [], 0
    for _ in range(draw(st.integers(0, 4))):
        starts, lengths = [], []
        for k in range(draw(st.integers(0, 2 * BLOCK))):
            place += draw(steps) + (k > 0)
            starts.append(place)
            lengths.append(max(1, draw(steps)))
            place += lengths[-1]
        out.append((np.array(starts, np.int64), np.array(lengths, np.int64)))
    return out


@settings(max_examples=100, deadline=None)
@given(parts=parts(), seed=st.integers(0, 100))
def test_packed_runs_are_the_runs(parts: list[Runs], seed: int) -> None:
    packer = Packer()
    for part in parts:
        assert packer.add(part) == part[1].sum()
    packed = packer.packed()
    starts = np.concatenate([np.zeros(0, np.int64), *(part[0] for part in parts)])
    lengths = np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)])
    for found, expected in zip(packed.unpacked(), (starts, lengths), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert packed.size == lengths.sum()
    ends = starts + lengths
    # The ends of every run and places within: where they are, and that nothing else is held.
    before = np.cumsum(lengths) - lengths
    np.testing.assert_array_equal(packed.at(before), starts)
    np.testing.assert_array_equal(packed.at(before + lengths - 1), ends - 1)
    within = np.random.default_rng(seed).integers(0, lengths) if len(lengths) else lengths
    np.testing.assert_array_equal(packed.at(before + within), starts + within)
    places = np.concatenate([starts - 1, starts, starts + within, ends - 1, ends, [0, 10**12]])
    run = np.searchsorted(starts, places, side="right") - 1
    held = (run >= 0) & (places < np.append(ends, 0)[run])
    np.testing.assert_array_equal(packed.contains(places), held)


def test_a_rank_without_a_voxel_is_refused() -> None:
    packer = Packer()
    packer.add((np.array([5]), np.array([3])))
    packed = packer.packed()
    np.testing.assert_array_equal(packed.at(np.array([[0], [2]])), [[5], [7]])
    for rank in (-1, 3):
        with pytest.raises(IndexError, match="0 … 2"):
            packed.at(np.array([rank]))


def test_a_run_takes_four_bytes() -> None:
    packer = Packer()
    packer.add((np.arange(0, 10 * BLOCK * 100, 100), np.full(10 * BLOCK, 7)))
    assert packer.packed().nbytes == 10 * BLOCK * 4 + 10 * 16 + 8


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200)), max_size=40),
)
def test_found_runs_spell_the_array(pieces: list[tuple[int, int]]) -> None:
    flat = np.repeat([v for v, _ in pieces], [n for _, n in pieces]).astype(np.uint8)
    (starts, lengths), values = find_runs(flat)
    np.testing.assert_array_equal(np.repeat(values, lengths), flat)
    np.testing.assert_array_equal(starts, np.cumsum(lengths) - lengths)
    assert (values[1:] != values[:-1]).all()
    assert (lengths > 0).all()


masks = st.lists(st.booleans(), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(
    first=masks,
    second=masks,
    keep=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_combined_runs_are_those_of_sets(
    first: list[bool], second: list[bool], keep: tuple[bool, bool, bool]
) -> None:
    sets = [{i for i, held in enumerate(mask) if held} for mask in (first, second)]
    expected = set()
    lone, other, common = sets[0] - sets[1], sets[1] - sets[0], sets[0] & sets[1]
    for wanted, part in zip(keep, (lone, other, common), strict=True):
        expected |= part if wanted else set()
    starts, lengths = combine(
        _runs(first), _runs(second), only_first=keep[0], only_second=keep[1], both=keep[2]
    )
    held = [place for s, n in zip(starts, lengths, strict=True) for place in range(s, s + n)]
    assert held == sorted(expected)
    assert (starts[1:] > (starts + lengths)[:-1]).all()  # none touch
    assert (lengths > 0).all()


def _runs(mask: list[bool]) -> Runs:
    (starts, lengths), values = find_runs(np.array(mask))
    return starts[values == 1], lengths[values == 1]
