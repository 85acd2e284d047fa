from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.surface_distance import edge_voxels, measure_surfaces
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.image_records import IGNORE

pairs = hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=7).flatmap(
    lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape))
)
spacings = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.5, 3.0])] * 3)


def monai(prediction, reference, spacing, tolerance):
    """95 % Hausdorff, mean distance and surface dice by MONAI."""
    a, b = (
        torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, reference)
    )
    more = {"include_background": True, "spacing": list(spacing[-prediction.ndim :])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (
            float(compute_hausdorff_distance(a, b, percentile=95, **more)),
            float(compute_average_surface_distance(a, b, symmetric=True, **more)),
            float(compute_surface_dice(a, b, class_thresholds=[tolerance], **more)),
        )


def test_distances_by_hand():
    reference = np.zeros((1, 1, 12), bool)
    prediction = np.zeros((1, 1, 12), bool)
    reference[..., 2:6] = True  # a line: every voxel is at the edge of the plane
    prediction[..., 4:8] = True
    found = measure_surfaces(prediction, reference, spacing=(9.0, 9.0, 0.5), tolerance_mm=0.5)
    # To the reference: 0, 0, 0.5, 1 mm; back: 1, 0.5, 0, 0 mm.
    assert found.mean_mm == pytest.approx(0.375)
    assert found.hausdorff_95_mm == pytest.approx(np.percentile([0, 0, 0.5, 1], 95))
    assert found.surface_dice == 6 / 8
    assert (found.n_reference, found.n_predicted) == (4, 4)


def test_the_edge_of_a_block_is_its_shell_and_of_a_slice_its_outline():
    block = np.zeros((6, 6, 6), bool)
    block[1:5, 1:5, 1:5] = True
    assert len(edge_voxels(block)) == 4**3 - 2**3
    assert len(edge_voxels(block[2])) == len(edge_voxels(block[2:3])) == 4**2 - 2**2
    assert len(edge_voxels(np.ones((3, 3), bool))) == 8  # beyond the array is outside
    assert len(edge_voxels(np.zeros((3, 3), bool))) == 0


@given(mask=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=7)))
def test_edges_are_what_erosion_takes_away(mask):
    expected = np.flatnonzero(mask & ~ndimage.binary_erosion(mask))
    assert edge_voxels(mask).tolist() == expected.tolist()


@given(masks=pairs, spacing=spacings, tolerance=st.sampled_from([0.0, 0.7, 1.0, 2.0]))
def test_distances_agree_with_monai(masks, spacing, tolerance):
    prediction, reference = masks
    found = measure_surfaces(prediction, reference, spacing=spacing, tolerance_mm=tolerance)
    hausdorff, mean, dice = monai(prediction, reference, spacing, tolerance)
    if prediction.any() and reference.any():
        assert found.hausdorff_95_mm == pytest.approx(hausdorff, rel=1e-4)
        assert found.mean_mm == pytest.approx(mean, rel=1e-4)
        assert found.surface_dice == pytest.approx(dice, rel=1e-4)
    elif prediction.any() or reference.any():
        assert found.surface_dice == dice == 0.0
        assert not np.isfinite(hausdorff)
        assert isinstance(found.hausdorff_95_mm, Undefined)
        assert isinstance(found.mean_mm, Undefined)
    else:
        assert np.isnan(dice)
        assert isinstance(found.surface_dice, Undefined)


def test_what_is_missing_is_named():
    some, none = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    assert measure_surfaces(none, some).mean_mm == Undefined("nothing is predicted")
    assert measure_surfaces(some, none).mean_mm == Undefined("the region is absent")
    both = measure_surfaces(none, none)
    assert both.surface_dice == Undefined("reference and prediction are empty")


def test_ignored_voxels_belong_to_neither_mask():
    reference = np.array([[1, 1, 0, IGNORE, 0]], np.uint8)
    prediction = np.array([[1, 1, 0, 1, 0]], bool)
    found = measure_surfaces(prediction, reference)
    assert (found.mean_mm, found.n_predicted) == (0.0, 2)


def test_unlike_shapes_and_impossible_tolerances_are_refused():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ScoreError, match="original grid"):
        measure_surfaces(mask, mask[:1])
    for tolerance in (-1.0, np.nan, np.inf):
        with pytest.raises(UsageError, match="millimetres"):
            measure_surfaces(mask, mask, tolerance_mm=tolerance)
