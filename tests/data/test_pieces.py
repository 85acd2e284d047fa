"""Pieces and what they join into, against scipy, region by region."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.data.pieces import Pieces, find_pieces
from rareseg_runner.image_records import IGNORE

REGIONS = ((1, 2, 3), (2, 3), (3,))

labelled = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.sampled_from([0, 0, 0, 1, 2, 3, IGNORE]),
)


def in_image(found: Pieces, shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, np.int32)
    box = tuple(slice(a, a + n) for a, n in zip(found.corner, found.numbers.shape, strict=True))
    whole[box] = found.numbers
    return whole


def test_a_union_is_joined_from_the_pieces_of_its_classes() -> None:
    labels = np.array([[[1, 2, 0, 1], [0, 0, 0, 1], [IGNORE, 3, 0, 0]]], np.uint8)
    found = find_pieces(labels, ((1, 2), (1,), (3,)))
    numbers = in_image(found, labels.shape)[0]
    # The 2 touches one 1 alone, and nothing is joined through what is ignored or by another region.
    assert len(found.component) == 1 + 4
    union, ones, threes = found.component.T
    assert union[numbers[0, 0]] == union[numbers[0, 1]] != union[numbers[0, 3]]
    assert numbers[0, 0] != numbers[0, 1]
    assert ones[numbers[0, 1]] == union[numbers[2, 1]] == threes[numbers[0, 0]] == 0
    assert found.whole[union[numbers[0, :2]]].tolist() == [2, 2]
    assert found.whole[ones[numbers[0, [0, 3]]]].tolist() == [1, 2]
    assert sorted(found.whole) == [0, 1, 1, 2, 2, 2]


@settings(deadline=None)
@given(labels=labelled, by_plane=st.booleans())
def test_the_components_of_every_region_are_those_of_scipy(
    labels: np.ndarray, by_plane: bool
) -> None:
    found = find_pieces(labels, REGIONS, by_plane=by_plane)
    numbers = in_image(found, labels.shape)
    np.testing.assert_array_equal(numbers > 0, (labels > 0) & (labels != IGNORE))
    structure = np.ones((3, 3, 3))
    if by_plane:
        structure[[0, 2]] = 0
    counted = 0
    for region, members in enumerate(REGIONS):
        expected, count = ndimage.label(np.isin(labels, members), structure)
        component = found.component[numbers, region]
        pairs = set(zip(component.flat, expected.flat, strict=True))
        assert len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})
        assert (0, 0) in pairs or 0 not in expected
        for own, theirs in pairs - {(0, 0)}:
            assert found.whole[own] == (expected == theirs).sum()
        counted += count
    assert len(found.whole) == counted + 1
    # A piece is of one class.
    assert len(set(zip(numbers.flat, np.where(numbers > 0, labels, 0).flat, strict=True))) == len(
        set(numbers.flat)
    )


def test_without_foreground_there_is_nothing() -> None:
    labels = np.array([[[0, IGNORE]]], np.uint8)
    found = find_pieces(labels, REGIONS)
    assert found.numbers.size == 0
    assert found.component.tolist() == [[0, 0, 0]]
    assert found.whole.tolist() == [0]
