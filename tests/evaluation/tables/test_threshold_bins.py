from __future__ import annotations

import numpy as np
import pytest

from rareseg.evaluation.tables.threshold_bins import (
    N_BINS,
    bin_edges,
    bin_of,
    bins_of,
    histogram,
    middle_edge,
)


def neighbours(values):
    """The values with the float32 just below and just above each, within [0, 1]."""
    values = np.asarray(values, np.float32)
    below = np.nextafter(values, np.float32(-1))
    above = np.nextafter(values, np.float32(2))
    near = np.unique(np.concatenate([below, values, above]))
    return near[(near >= 0) & (near <= 1)]


def test_edges_are_sorted_and_span_the_unit_interval():
    edges = bin_edges()
    assert edges.shape == (N_BINS,)
    assert edges.dtype == np.float32
    assert edges[0] == 0.0
    assert edges[-1] == 1.0
    assert np.all(np.diff(edges) >= 0)
    assert np.float32(0.5) in edges


def test_an_edge_is_the_smallest_score_at_or_above_its_bin():
    edges = bin_edges()
    inner = edges > 0
    just_below = np.nextafter(edges[inner], np.float32(0))
    index = np.arange(N_BINS)
    assert np.all(bins_of(edges) >= index)
    assert np.all(bins_of(just_below) < index[inner])


@pytest.mark.parametrize("kind", ["edges and neighbours", "uniform", "smooth", "saturated"])
def test_score_at_or_above_edge_k_exactly_where_its_bin_is_at_least_k(kind, draw_scores):
    if kind == "edges and neighbours":
        scores = neighbours(bin_edges())
    elif kind == "uniform":
        scores = np.random.default_rng(0).random(200_000, np.float32)
    else:
        scores, _ = draw_scores(kind, 200_000)
    # For sorted scores "score >= edge[k]" begins at one place, and so does "bin >= k".
    scores = np.sort(scores)
    bins = bins_of(scores)
    assert np.all(np.diff(bins) >= 0)
    by_score = np.searchsorted(scores, bin_edges(), side="left")
    by_bin = np.searchsorted(bins, np.arange(N_BINS), side="left")
    np.testing.assert_array_equal(by_score, by_bin)


@pytest.mark.parametrize("kind", ["smooth", "saturated"])
def test_compiled_histogram_agrees_with_numpy(kind, draw_scores):
    scores, reference = draw_scores(kind, 50_000)
    scores = np.concatenate([scores, neighbours(bin_edges())])
    labels = np.concatenate([reference, np.zeros(len(scores) - len(reference), bool)])
    labels = labels.astype(np.uint8)
    labels[::7] = 255
    seen = histogram(scores, labels)
    assert (seen.wrong_scores, seen.wrong_labels, seen.top) == (0, 0, float(scores.max()))
    bins = bins_of(scores)
    inside = np.bincount(bins[labels == 1], minlength=N_BINS)
    outside = np.bincount(bins[labels == 0], minlength=N_BINS)
    np.testing.assert_array_equal(seen.bins, np.flatnonzero(inside + outside))
    np.testing.assert_array_equal(seen.inside, inside[seen.bins])
    np.testing.assert_array_equal(seen.outside, outside[seen.bins])


def test_what_binning_cuts_off_is_kept_as_sums():
    scores, labels = np.array([0.3, 0.3001, 0.7, 0.7, 0.7001], np.float32), [0, 1, 1, 1, 255]
    seen = histogram(scores, np.array(labels, np.uint8))
    low = scores[:2].view(np.uint32) & 0xFFFF
    assert (seen.outside_low[0], seen.inside_low[0]) == (low[0], low[1])
    mirrored = (np.float32(1) - scores[2]).view(np.uint32) & 0xFFFF
    assert (seen.outside_low[1], seen.inside_low[1]) == (0, 2 * mirrored)


def test_blocks_add_up(monkeypatch, draw_scores):
    scores, reference = draw_scores("smooth", 10_000)
    whole = histogram(scores, reference.view(np.uint8))
    monkeypatch.setattr("rareseg.evaluation.tables.threshold_bins._BLOCK", 777)
    parts = histogram(scores, reference.view(np.uint8))
    for name in ("bins", "inside", "outside", "inside_low", "outside_low", "top"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize(
    "bad", [np.nan, -np.nan, np.inf, -np.inf, -1e-30, -0.25, np.nextafter(np.float32(1), 2), 7.0]
)
def test_histogram_counts_impossible_scores(bad):
    scores = np.array([0.1, bad, 0.9], np.float32)
    seen = histogram(scores, np.zeros(3, np.uint8))
    assert (seen.wrong_scores, seen.wrong_labels) == (1, 0)


@pytest.mark.parametrize("label", [2, 3, 4, 128, 254])
def test_histogram_counts_impossible_labels(label):
    labels = np.array([0, 1, 255, label], np.uint8)
    seen = histogram(np.full(4, 0.5, np.float32), labels)
    assert (seen.wrong_scores, seen.wrong_labels) == (0, 1)


def test_middle_of_the_bins_next_to_both_ends_is_one_half():
    assert middle_edge(0, N_BINS - 1) == 0.5
    assert middle_edge(bin_of(0.001), bin_of(0.999)) == pytest.approx(0.5, abs=1e-3)
