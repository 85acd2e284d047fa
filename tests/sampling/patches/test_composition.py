"""Counts of labels, wherever they lie, and of pools by name."""

from __future__ import annotations

import numpy as np
import torch

from rareseg.sampling.patches.composition import PhaseCounts, count_later
from rareseg.sampling.pools.class_counts import count_classes
from rareseg_runner.image_records import IGNORE


def some_labels() -> torch.Tensor:
    labels = torch.randint(0, 3, (5, 4, 6), generator=torch.Generator().manual_seed(0))
    labels[0] = 0
    labels[1] = IGNORE
    labels[2, 0] = IGNORE
    return labels


def test_counting_on_a_device_is_counting() -> None:
    labels = some_labels()
    voxels, positive = count_classes(labels.to(torch.uint8).numpy())
    assert (voxels[[0, 1, 2, IGNORE]].sum(), positive) == (120, 3)
    for given in (labels, labels.to(torch.uint8)):
        assert count_later(given, 3).tolist() == [*voxels[:3], voxels[IGNORE], positive]


def test_what_was_counted_on_a_device_is_settled_when_it_is_asked_for() -> None:
    """As on a GPU: the counts stay tensors until a state is taken."""
    labels, tally = some_labels(), PhaseCounts(cases=2)
    for _ in range(2):
        counts = count_later(labels, 3)
        tally._later = counts if tally._later is None else tally._later + counts
    voxels, positive = count_classes(labels.to(torch.uint8).numpy())
    state = tally.to_dict()
    np.testing.assert_array_equal(state["voxels"], 2 * voxels)
    assert state["with_foreground"] == 2 * positive
    assert tally.to_dict() == state


def test_pools_are_counted_by_name_though_mixtures_change() -> None:
    tally, other = PhaseCounts(cases=2), PhaseCounts(cases=2)
    case = np.array([0, 1, 1, 1], np.int32)
    half = np.array([0.5, 0.5])
    tally.add(("a", "b"), half, np.array([0.0, 1.0]), np.array([1, 1, 1, 1], np.int16), case)
    tally.add(("b", "c"), half, half, np.array([0, 1, 0, 1], np.int16), case)
    other.add(("c", "d"), half, half, np.array([0, 1, 1, 1], np.int16), case)
    tally.merge(other)
    assert list(tally.pools) == ["a", "b", "c", "d"]
    assert tally.centres.tolist() == [0, 6, 3, 3]
    assert tally.asked.tolist() == [2.0, 4.0, 4.0, 2.0]
    assert tally.drawn.tolist() == [0.0, 6.0, 4.0, 2.0]
    assert tally.cases.tolist() == [3, 9]
    assert PhaseCounts.from_dict(tally.to_dict()).to_dict() == tally.to_dict()
