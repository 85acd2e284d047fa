"""The highest scores of a case, kept to the last bit."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rareseg.evaluation.tables import highest_scores as module
from rareseg.evaluation.tables.highest_scores import MOST_SCORES, MOST_VOXELS, UNKNOWN
from rareseg.evaluation.tables.score_table import ScoreTable, merge, score_case
from rareseg.evaluation.tables.threshold_bins import bins_of
from rareseg_runner.image_records import IGNORE

# Few enough values for ties, close enough for several in one bin, 0 and 1 among them.
values = st.one_of(
    st.integers(0, 40).map(lambda k: np.float32(0.5 + k * 1e-4)),
    st.sampled_from([np.float32(v) for v in (0.0, 1e-6, 0.25, 0.999, 1.0)]),
)
cases = st.integers(0, 60).flatmap(
    lambda n: st.tuples(
        st.lists(values, min_size=n, max_size=n).map(lambda own: np.array(own, np.float32)),
        hnp.arrays(np.uint8, n, elements=st.sampled_from([0, 0, 1, IGNORE])),
    )
)


limits = pytest.mark.parametrize("few", [(3, 8), (8, 20), (5, 10_000), (10_000, 10)])
"""Few scores and few voxels are kept, so that something is left out of a small case."""


@contextmanager
def keeping(few):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_SCORES", few[0])
        patch.setattr(module, "MOST_VOXELS", few[1])
        yield


def row_of(scores, labels, case_id="a"):
    return score_case(scores, labels, case_id=case_id, region="r", ignores=True)


@limits
@given(case=cases)
def test_every_voxel_from_the_floor_up_is_counted(few, case):
    scores, labels = case
    with keeping(few):
        kept = row_of(scores, labels).highest
    above = (scores >= np.float32(kept.floor)) & (labels != IGNORE)
    np.testing.assert_array_equal(kept.scores, np.unique(scores[above]))
    for side, counts in ((1, kept.inside), (0, kept.outside)):
        own = scores[above & (labels == side)]
        np.testing.assert_array_equal(counts, [np.sum(own == value) for value in kept.scores])
    most_scores, most_voxels = few
    assert len(kept.scores) <= most_scores
    assert np.sum(above & (scores < 1)) <= most_voxels


@limits
@given(case=cases)
def test_nothing_is_left_out_that_fits(few, case):
    scores, labels = case
    with keeping(few):
        kept = row_of(scores, labels).highest
    most_scores, most_voxels = few
    below = scores[(scores < np.float32(kept.floor)) & (labels != IGNORE)]
    if not len(below):
        assert kept.floor == 0.0 or len(kept.scores) == most_scores
        return
    # One score more would be too many, or one bin more would hold too many voxels.
    bins = bins_of(scores)
    in_bin = (bins >= bins_of(below.max()[None])[0]) & (scores < 1) & (labels != IGNORE)
    assert len(kept.scores) == most_scores or np.sum(in_bin) > most_voxels


@limits
@given(case=cases, cuts=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_the_whole_is_the_merge_of_its_parts(few, case, cuts):
    scores, labels = case
    low, high = sorted(cuts)
    with keeping(few):
        a, b, c = (
            ScoreTable((row_of(scores[part], labels[part]),))
            for part in (slice(low), slice(low, high), slice(high, None))
        )
        whole = ScoreTable((row_of(scores, labels),))
        assert merge(a, b, c) == merge(merge(a, b), c) == merge(c, merge(b, a)) == whole


def test_a_part_of_an_earlier_release_leaves_nothing_known():
    rng = np.random.default_rng(0)
    row = row_of(rng.random(50), rng.random(50) < 0.5)
    old = replace(row, highest=UNKNOWN)
    (both,) = merge(ScoreTable((row,)), ScoreTable((old,))).rows
    assert both.highest == UNKNOWN
    assert both.n_voxels == 100


def test_large_cases_keep_what_is_cheap():
    rng = np.random.default_rng(1)
    scores = rng.random(300_000).astype(np.float32)
    kept = row_of(scores, scores > 0.7).highest
    ordered = np.unique(scores)
    np.testing.assert_array_equal(kept.scores, ordered[-MOST_SCORES:])
    # All in one bin there are too many to look at; many of score 1 are one score.
    assert row_of(0.499 + 9e-4 * scores, scores > 0.7).highest.floor >= 0.5
    scores[:250_000] = 1.0
    kept = row_of(scores, np.arange(300_000) % 3 == 0).highest
    assert (kept.scores[-1], len(kept.scores)) == (1.0, MOST_SCORES)
    assert kept.inside[-1] + kept.outside[-1] == 250_000 > MOST_VOXELS
