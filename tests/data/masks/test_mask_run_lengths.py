"""Run lengths of masks: by hand, there and back, and against pycocotools where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from rareseg.data.masks.mask_run_lengths import (
    compress_counts,
    decode_counts,
    decode_pairs,
    decompress_counts,
    encode_counts,
    encode_pairs,
)
from rareseg.errors import DataError

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))

MASK = np.array([[0, 1, 1], [0, 1, 0]], np.bool_)
"""Down the columns: off off, on on, on off."""


def test_runs_go_down_the_columns() -> None:
    assert encode_counts(MASK) == [2, 3, 1]
    assert encode_pairs(MASK) == "3 3"
    assert encode_counts(~MASK) == [0, 2, 3, 1]
    assert encode_pairs(~MASK) == "1 2 6 1"


def test_nothing_and_everything() -> None:
    empty, full = np.zeros((2, 3), np.bool_), np.ones((2, 3), np.bool_)
    assert encode_counts(empty) == [6]
    assert encode_counts(full) == [0, 6]
    assert encode_pairs(empty) == ""
    assert encode_pairs(full) == "1 6"
    assert not decode_pairs("-1", (2, 3)).any()
    assert encode_counts(np.zeros((0, 3), np.bool_)) == []
    assert decode_counts([], (0, 3)).shape == (0, 3)


@settings(deadline=None)
@given(mask=masks)
def test_what_is_written_and_read_is_the_mask(mask: np.ndarray) -> None:
    counts = encode_counts(mask)
    np.testing.assert_array_equal(decode_counts(counts, mask.shape), mask)
    assert decompress_counts(compress_counts(counts)) == counts
    np.testing.assert_array_equal(decode_pairs(encode_pairs(mask), mask.shape), mask)


def test_long_runs_are_compressed_and_read_again() -> None:
    counts = [0, 5, 1_000_000, 3, 31, 32, 2, 1023, 1024, 1_000_001]
    assert decompress_counts(compress_counts(counts)) == counts


def test_the_compressed_form_is_that_of_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(1)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        mask = random.random((57, 83)) < share
        theirs = coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode("ascii")
        assert compress_counts(encode_counts(mask)) == theirs
        np.testing.assert_array_equal(decode_counts(decompress_counts(theirs), mask.shape), mask)


@pytest.mark.parametrize("counts", [[1, 2], [7], [-1, 7], [1.5, 4.5], ["a"], [[1, 2], [3]]])
def test_run_lengths_that_do_not_fill_the_image_are_refused(counts: list[object]) -> None:
    with pytest.raises(DataError, match="run lengths"):
        decode_counts(counts, (2, 3))


@pytest.mark.parametrize("text", ["1", "a b", "0 2", "6 2", "1 -1", "1.5 2", "9" * 30 + " 1"])
def test_pairs_that_leave_the_image_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="run lengths"):
        decode_pairs(text, (2, 3))


@pytest.mark.parametrize("text", ["!", "é", "P"])
def test_a_damaged_compressed_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="compressed run lengths"):
        decompress_counts(text)
