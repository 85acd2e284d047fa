"""Components and objects one to one: against masks that are cut, labelled and matched by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rareseg.errors import ScoreError
from rareseg.evaluation.metrics.object_matching import MATCH_IOU, match_objects
from rareseg.evaluation.tables.component_table import (
    NOT_COUNTED,
    ComponentTable,
    components_of_case,
)
from rareseg.evaluation.tables.component_table_io import load_components, save_components
from rareseg.evaluation.tables.score_table_io import write_archive
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg_runner.components import label_components
from rareseg_runner.image_records import IGNORE

GRID = tuple(int(k) for k in np.searchsorted(bin_edges(), np.float32([0.25, 0.5, 0.75])))
SIZES = np.array([0, 2, 4])

SCORES = arrays(np.float32, (6, 7), elements=st.sampled_from(np.float32([0.1, 0.3, 0.6, 0.9])))
LABELS = arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 0, 1, IGNORE]))


def by_hand(scores, labels, threshold, smallest):
    """Pairs in the order of their overlap, each component and object once."""
    components, n = label_components(scores >= threshold)
    kept = [
        k
        for k in range(1, n + 1)
        if (components == k).sum() >= smallest and ((components == k) & (labels != IGNORE)).any()
    ]
    objects, n_objects = label_components(labels == 1)
    pairs = []
    for k in kept:
        own = (components == k) & (labels != IGNORE)
        for component in range(1, n_objects + 1):
            both = (own & (objects == component)).sum()
            iou = both / (own | (objects == component)).sum()
            if iou >= MATCH_IOU:
                pairs.append((-iou, k, component))
    taken, matched = set(), 0
    for _, k, component in sorted(pairs):
        if not {("c", k), ("l", component)} & taken:
            taken |= {("c", k), ("l", component)}
            matched += 1
    return matched, len(kept)


@settings(max_examples=60)
@given(scores=SCORES, labels=LABELS)
def test_it_is_what_the_cut_masks_give(scores, labels):
    row = components_of_case(scores, labels, case_id="a", region="r", grid=GRID, ignores=True)
    matched, kept = match_objects(row, len(GRID), SIZES)
    for level, bin_ in enumerate(GRID):
        for k, smallest in enumerate(SIZES):
            expected = by_hand(scores, labels, bin_edges()[bin_], smallest)
            assert (matched[level, k], kept[level, k]) == expected


@settings(max_examples=30)
@given(scores=SCORES, labels=LABELS)
def test_overlaps_add_up_to_what_lies_inside(scores, labels):
    row = components_of_case(scores, labels, case_id="a", region="r", grid=GRID, ignores=True)
    inside = np.bincount(row.touching, row.shared, len(row.levels))
    assert (inside == row.inside).all()


def test_one_component_over_everything_is_one_object_at_most():
    reference = np.zeros((10, 10), np.uint8)
    reference[1:4, 1:4] = reference[6:9, 6:9] = 1
    everywhere = np.full((10, 10), 0.9, np.float32)
    row = components_of_case(everywhere, reference, case_id="a", region="r", grid=GRID)
    matched, kept = match_objects(row, len(GRID), SIZES)
    # 9 of 100 voxels are less than a tenth: it is neither, and both are missed.
    assert (matched == 0).all()
    assert (kept == 1).all()


def test_tables_keep_the_overlaps_and_earlier_ones_say_what_is_missing(tmp_path):
    reference = np.zeros((6, 6), np.uint8)
    reference[2:4, 2:4] = 1
    scores = np.where(reference, 0.9, 0.1).astype(np.float32)
    table = ComponentTable(
        (components_of_case(scores, reference, case_id="a", region="r", grid=GRID),), GRID
    )
    save_components(table, tmp_path / "now.npz")
    assert load_components(tmp_path / "now.npz").rows == table.rows
    with np.load(tmp_path / "now.npz") as archive:
        left_out = ("shared", "version")  # the version is written anew
        earlier = {name: archive[name] for name in archive.files if name not in left_out}
    write_archive(tmp_path / "earlier.npz", earlier)
    (row,) = load_components(tmp_path / "earlier.npz").rows
    assert (row.shared == NOT_COUNTED).all()
    with pytest.raises(ScoreError, match="counted by an earlier version"):
        match_objects(row, len(GRID), SIZES)
