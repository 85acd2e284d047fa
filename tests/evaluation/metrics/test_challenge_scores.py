from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.errors import ScoreError
from rareseg.evaluation.metrics.challenge_scores import (
    BRATS_TASKS,
    AutopetVolumes,
    autopet_volumes,
    brats_lesions,
)
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.components import label_components
from rareseg_runner.image_records import IGNORE

EVERY = np.ones((3, 3, 3))
EIGHTEEN = ndimage.generate_binary_structure(3, 2)

pairs = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9).flatmap(
    lambda shape: st.tuples(
        *[hnp.arrays(np.bool_, shape, elements=st.sampled_from([False] * 7 + [True]))] * 2
    )
)


def brats_as_published(prediction, reference, spacing, iterations, smallest):
    """The scorer's own steps, one object at a time: (dice or None, false positives)."""
    objects, n = ndimage.label(ndimage.binary_dilation(reference, EIGHTEEN, iterations), EVERY)
    predicted, m = ndimage.label(prediction, EVERY)
    total, counted, touched = 0.0, 0, set()
    for i in range(1, n + 1):
        component = reference & (objects == i)
        near = ndimage.binary_dilation(component, EIGHTEEN, iterations)
        own = set(predicted[near]) - {0}
        touched |= own
        mask = np.isin(predicted, list(own)) if own else np.zeros_like(component)
        if component.sum() * np.prod(spacing) > smallest:
            total += 2 * (mask & component).sum() / (mask.sum() + component.sum())
            counted += 1
    false = m - len(touched)
    return (total / (counted + false) if counted + false else None), false


@given(masks=pairs, task=st.sampled_from(sorted(BRATS_TASKS)), step=st.sampled_from([1.0, 3.0]))
def test_brats_agrees_with_the_published_steps(masks, task, step):
    prediction, reference = masks
    spacing = (step, 1.0, 1.0)
    found = brats_lesions(prediction, reference, spacing=spacing, task=task)
    iterations, smallest = BRATS_TASKS[task]
    dice, false = brats_as_published(prediction, reference, spacing, iterations, smallest)
    assert found.n_false_positives == false
    if dice is None:
        assert isinstance(found.dice, Undefined)
    else:
        assert found.dice == pytest.approx(dice)


def line(*runs):
    """A volume of one row of 40 voxels in which the runs (start, stop) are on."""
    mask = np.zeros((1, 1, 40), bool)
    for start, stop in runs:
        mask[..., start:stop] = True
    return mask


def test_brats_by_hand():
    # Two reference pieces six voxels apart: three dilations each bring them together.
    reference = line((0, 2), (8, 10), (20, 21), (36, 38))
    prediction = line((1, 3), (30, 31), (34, 35))
    glioma = brats_lesions(prediction, reference, spacing=(5.0, 5.0, 1.0))
    assert glioma.volumes_mm3 == (100.0, 25.0, 50.0)  # the last two do not exceed 50 mm³
    assert glioma.dices == pytest.approx((2 * 1 / (2 + 4), 0.0, 0.0))
    assert glioma.n_false_positives == 1  # voxel 34 lies in the dilation of 36
    assert glioma.dice == pytest.approx((1 / 3) / (1 + 1))
    apart = brats_lesions(prediction, reference, spacing=(5.0, 5.0, 1.0), task="meningioma")
    assert apart.volumes_mm3 == (50.0, 50.0, 25.0, 50.0)
    assert apart.n_false_positives == 2
    assert apart.dice == 0.0  # no object counts, false positives do


def test_brats_without_anything_is_undefined():
    nothing = line()
    assert isinstance(brats_lesions(nothing, nothing).dice, Undefined)
    assert brats_lesions(nothing, line((0, 9)), spacing=(5.0, 5.0, 1.0)).dice == 0.0
    assert brats_lesions(line((0, 9)), nothing).dice == 0.0


@given(masks=pairs)
def test_autopet_agrees_with_the_published_steps(masks):
    prediction, reference = masks

    def untouched(mask, other):
        labels, n = ndimage.label(mask, EIGHTEEN)
        return sum((labels == i).sum() for i in range(1, n + 1) if not other[labels == i].any())

    found = autopet_volumes(prediction, reference, spacing=(10.0, 10.0, 2.0))
    assert found.false_positive_ml == pytest.approx(untouched(prediction, reference) * 0.2)
    if reference.any():
        assert found.false_negative_ml == pytest.approx(untouched(reference, prediction) * 0.2)
    else:
        assert isinstance(found.false_negative_ml, Undefined)


def test_autopet_joins_over_edges_but_not_over_corners():
    prediction = np.zeros((2, 2, 2), bool)
    reference = prediction.copy()
    prediction[0, 0, 0] = prediction[1, 1, 1] = reference[0, 0, 0] = True
    voxel = {"spacing": (10.0, 10.0, 10.0)}
    assert autopet_volumes(prediction, reference, **voxel) == AutopetVolumes(1.0, 0.0)
    prediction[1, 1, 1], prediction[0, 1, 1] = False, True
    assert autopet_volumes(prediction, reference, **voxel) == AutopetVolumes(0.0, 0.0)


@given(mask=pairs.map(lambda masks: masks[0] | masks[1]))
def test_components_over_edges_agree_with_scipy(mask):
    labels, count = label_components(mask, connectivity=18)
    expected, n = ndimage.label(mask, EIGHTEEN)
    assert count == n
    assert len(set(zip(labels[mask].tolist(), expected[mask].tolist(), strict=True))) == n


def test_ignored_voxels_belong_to_neither_mask_and_slices_are_volumes():
    reference = np.array([[1, 0, IGNORE, IGNORE]], np.uint8)
    prediction = np.array([[False, False, False, True]])
    assert autopet_volumes(prediction, reference).false_positive_ml == 0.0
    assert brats_lesions(prediction, reference).n_false_positives == 0


@pytest.mark.parametrize("measure", [brats_lesions, autopet_volumes])
def test_masks_of_unlike_shape_are_refused(measure):
    with pytest.raises(ScoreError, match="original grid"):
        measure(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
