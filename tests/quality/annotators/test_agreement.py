"""The agreement of one case: by hand, against other people's code, and where nothing is drawn."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_surface_dice
from scipy import ndimage
from sklearn.metrics import f1_score

from rareseg.data.records import Case
from rareseg.errors import UsageError
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.quality.annotators.agreement import AgreementSettings, measure_case
from rareseg.quality.annotators.annotations import Reviews, surroundings
from rareseg_runner.image_records import Classes, Geometry

ONE = Classes(("background", "spot"), (0, 1), {"spot": (1,)})
NESTED = Classes(("background", "rim", "core"), (0, 1, 2), {"whole": (1, 2), "core": (2,)})


def reviews_of(*masks, spacing=(1.0, 1.0, 1.0), dimension=2, group=None):
    """Return the reviews of whole masks, uncut."""
    labels = np.stack([mask if mask.ndim == 3 else mask[None] for mask in masks])
    shape = labels.shape[1:]
    return Reviews(
        case=Case("case", (Path("image.png"),), None, group),
        annotators=tuple("abcdefgh"[: len(masks)]),
        labels=labels.astype(np.uint8),
        box=tuple(slice(0, size) for size in shape),
        shape=shape,
        geometry=Geometry(spacing, dimension),
    )


def drawn(text):
    """Read a drawing: digits are classes, dots background, X ignored."""
    rows = text.split()
    table = {".": 0, "X": 255}
    return np.array([[table.get(c) if c in table else int(c) for c in row] for row in rows])


HAND = (
    drawn("1111.... 1111.... ........ ......11"),
    drawn("1111.... ........ ........ ......11"),
    drawn("111..... ........ ........ ........"),
)


def measure(*masks, classes=ONE, asked=None, **other):
    return measure_case(reviews_of(*masks, **other), classes, asked or AgreementSettings())


class TestByHand:
    def test_votes_and_ambiguous_voxels(self):
        (case,) = measure(*HAND)
        # Three votes on 3 voxels, two on the fourth and on the pair below, one on the second row.
        assert case.votes.counts == (22, 4, 3, 3)
        assert case.ambiguous == 7
        assert case.ambiguous_share == 7 / 10 == case.disagreed_share

    def test_an_ambiguous_voxel_depends_on_how_many_must_agree(self):
        four = (*HAND, HAND[0])
        (case,) = measure(*four)
        # Now 3 votes of 4 stand on one voxel and on two more: certain at 0.75; two of four are not.
        assert case.votes.counts == (22, 0, 4, 3, 3)
        assert case.ambiguous == 4
        (strict,) = measure(*four, asked=AgreementSettings(certain=1.0))
        assert strict.ambiguous == case.votes.disagreed == 7

    def test_pairs(self):
        (case,) = measure(*HAND)
        dices = {(pair.first, pair.second): pair.dice for pair in case.pairs}
        assert dices == {
            ("a", "b"): 2 * 6 / 16,
            ("a", "c"): 2 * 3 / 13,
            ("b", "c"): 2 * 3 / 9,
        }
        assert case.dice == pytest.approx(np.mean(list(dices.values())))

    def test_objects(self):
        (case,) = measure(*HAND)
        first, second = case.objects
        assert (first.box, first.voxels) == (((0, 1), (0, 2), (0, 4)), 8)
        assert (first.voxels_by, first.drawn_by) == ((8, 4, 3), ("a", "b", "c"))
        assert first.size == 5.0  # the mean of those who drew it, not the union's 8
        assert (second.voxels_by, second.drawn_by, second.size) == ((2, 2, 0), ("a", "b"), 2.0)
        assert second.dice == pytest.approx((1 + 0 + 0) / 3)
        assert first.dice == pytest.approx((2 * 4 / 12 + 2 * 3 / 11 + 2 * 3 / 7) / 3)

    def test_who_drew_nothing_disagrees(self):
        (case,) = measure(HAND[0], np.zeros_like(HAND[0]))
        assert case.dice == 0.0
        assert case.surface_dice == 0.0
        assert case.drawn_by == ("a",)

    def test_ignored_voxels_count_nowhere(self):
        ignoring = HAND[2].copy()
        ignoring[1] = 255
        (case,) = measure(HAND[0], HAND[1], ignoring)
        assert case.votes.counts == (18, 0, 3, 3)
        assert case.near.voxels == case.votes.voxels == 24
        assert case.objects[0].voxels == 4

    def test_a_size_of_volumes_is_in_cubic_millimetres(self):
        volume = np.zeros((2, 4, 8), int)
        volume[0] = HAND[0]
        (case,) = measure(volume, volume, spacing=(3.0, 0.5, 0.5), dimension=3)
        assert case.objects[0].size == 8 * 0.75
        assert case.objects[0].size_unit == case.size_unit == "mm³"


class TestNothing:
    def test_nobody_drew(self):
        (case,) = measure(*[np.zeros((5, 6), int)] * 3)
        for value in (case.dice, case.surface_dice, case.kappa, case.kappa_near):
            assert value == Undefined("nobody drew anything")
        assert case.ambiguous_share == Undefined("nobody drew anything")
        assert (case.votes.counts, case.objects, case.drawn_by) == ((30, 0, 0, 0), (), ())

    def test_an_empty_box_stands_for_an_empty_image(self):
        whole = reviews_of(np.zeros((5, 6), int), np.zeros((5, 6), int))
        cut = Reviews(
            whole.case,
            whole.annotators,
            np.zeros((2, 0, 0, 0), np.uint8),
            (slice(0, 0),) * 3,
            whole.shape,
            whole.geometry,
        )
        ours, theirs = (measure_case(r, ONE, AgreementSettings()) for r in (cut, whole))
        assert ours == theirs

    def test_one_annotator_has_objects_and_no_agreement(self):
        (case,) = measure(HAND[0])
        for value in (case.dice, case.surface_dice, case.kappa, case.kappa_near):
            assert value == Undefined("fewer than two annotators looked")
        assert [component.drawn_by for component in case.objects] == [("a",), ("a",)]
        assert case.ambiguous == 0


masks_2d = hnp.arrays(np.uint8, (3, 6, 7), elements=st.sampled_from([0, 0, 0, 1, 2]))


class TestAgainstOthers:
    @settings(max_examples=40, deadline=None)
    @given(masks_2d)
    def test_dice_is_scikit_learns_and_nested_regions_have_more_in_common(self, masks):
        whole, core = measure(*masks, classes=NESTED)
        for case, members in ((whole, (1, 2)), (core, (2,))):
            on = np.isin(masks, members)
            for pair, (i, j) in zip(case.pairs, combinations(range(3), 2), strict=True):
                if on[i].any() or on[j].any():
                    assert pair.dice == pytest.approx(f1_score(on[i].ravel(), on[j].ravel()))
                else:
                    assert pair.dice == Undefined("neither annotator drew anything")
        assert whole.votes.drawn >= core.votes.drawn

    @settings(max_examples=20, deadline=None)
    @given(masks_2d)
    def test_objects_are_the_components_of_the_union(self, masks):
        (case,) = measure(*(masks > 0).astype(int))
        labels, count = ndimage.label((masks > 0).any(axis=0), np.ones((3, 3)))
        assert len(case.objects) == count
        for component in case.objects:
            (z, *box) = (slice(*edges) for edges in component.box)
            (number,) = set(np.unique(labels[tuple(box)])) & {
                k
                for k in range(1, count + 1)
                if (labels == k).sum() == component.voxels
                and ndimage.find_objects(labels)[k - 1] == tuple(box)
            }
            drawn_there = [int((mask[labels == number] > 0).sum()) for mask in masks]
            assert component.voxels_by == tuple(drawn_there)
            assert z == slice(0, 1)
        total = np.sum([component.voxels_by for component in case.objects], axis=0) if count else 0
        assert np.array_equal(total, (masks > 0).sum(axis=(1, 2)) if count else 0)

    def test_surface_dice_is_monais_in_anisotropic_volumes(self):
        rng = np.random.default_rng(1)
        blobs = ndimage.gaussian_filter(rng.normal(size=(3, 8, 20, 20)), (0, 1, 2, 2)) > 0.04
        spacing = (2.5, 0.7, 0.7)
        (case,) = measure(*blobs.astype(int), spacing=spacing, dimension=3)
        for pair, (i, j) in zip(case.pairs, combinations(range(3), 2), strict=True):
            theirs = compute_surface_dice(
                torch.from_numpy(blobs[None, None, i]),
                torch.from_numpy(blobs[None, None, j]),
                [1.0],
                include_background=True,
                spacing=spacing,
            )
            assert pair.surface_dice == pytest.approx(float(theirs), abs=1e-6)


class TestNear:
    def test_the_union_is_dilated_in_millimetres(self):
        spot = np.zeros((5, 21, 21), bool)
        spot[2, 10, 10] = True
        near = surroundings(spot, (3.0, 1.0, 1.0), 5.0)
        image = sitk.GetImageFromArray(spot.astype(np.uint8))
        image.SetSpacing((1.0, 1.0, 3.0))
        distance = sitk.GetArrayFromImage(
            sitk.SignedMaurerDistanceMap(
                image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
            )
        )
        assert np.array_equal(near, distance <= 5.0)
        assert near[1].any()
        assert not near[0].any()

    def test_more_background_inflates_kappa_and_leaves_what_is_near_alone(self):
        small, large = HAND, tuple(np.pad(mask, 40) for mask in HAND)
        padded = tuple(np.pad(mask, 6) for mask in small)
        (near, far) = (measure(*masks)[0] for masks in (padded, large))
        assert far.kappa > near.kappa
        assert far.kappa_near == near.kappa_near
        assert is_defined(far.kappa_near)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"certain": 0.5}, "half against half"),
        ({"certain": 1.1}, "at most 1"),
        ({"tolerance_mm": -1.0}, "tolerance_mm"),
        ({"margin_mm": float("nan")}, "margin_mm"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        AgreementSettings(**wrong)
