"""Masks of the same content are compared wherever the images can be laid over each other."""

import numpy as np
import pytest
from scipy import ndimage

from rareseg.data.look_alikes import ComparedCase, Placement, find_look_alikes, make_thumbnail
from rareseg.quality.audit.finding import Move
from rareseg.quality.audit.mask_agreement import compare_masks, shrink_mask
from rareseg_runner.image_records import Geometry, Image

NAMES = ("background", "spot")


def scene(seed=0, shape=(1, 150, 200)):
    rng = np.random.default_rng(seed)
    sigma = [0 if n == 1 else 2 for n in shape]
    image = 40 * ndimage.gaussian_filter(rng.normal(size=shape), sigma) + 100
    mask = np.zeros(shape, np.uint8)
    mask[..., 40:70, 120:160] = 1
    return image[None].astype(np.float32), mask


def photographed_again(move, image):
    """Mirror and shift the camera: what comes in at the side is more of the same, not black."""
    return np.roll(np.flip(image[0], move.flips), move.shift, (0, 1, 2))[None]


def compare(first, second):
    """Find how two images lie, and compare their masks."""
    seen = []
    for name, (image, mask) in zip("ab", (first, second), strict=True):
        geometry = Geometry((1.0, 1.0, 1.0), 2 if mask.shape[0] == 1 else 3)
        seen.append(ComparedCase(name, None, "", make_thumbnail(Image(image, geometry))))
    (pair,) = find_look_alikes(seen, jobs=1)
    small = [shrink_mask(mask, 2) for _, mask in (first, second)]
    return compare_masks(*small, pair.placement, NAMES)


MOVES = [Move(), Move((0, 8, -10)), Move(flips=(2,)), Move((0, 4, 0), (1, 2))]


@pytest.mark.parametrize("move", MOVES, ids=Move.words)
def test_the_same_mask_agrees_however_the_copy_was_made(move):
    image, mask = scene()
    again = photographed_again(move, image) * 1.3 + 12
    assert not compare((image, mask), (again, move.apply(mask))).differ


def test_another_size_and_turn_agree():
    image, mask = scene(shape=(1, 150, 150))
    turned = np.swapaxes(image, 2, 3)[:, :, ::2, ::2]
    other = np.swapaxes(mask, 1, 2)[:, ::2, ::2]
    assert not compare((image, mask), (turned, other)).differ


@pytest.mark.parametrize("move", MOVES, ids=Move.words)
def test_a_mask_elsewhere_differs_however_the_copy_was_made(move):
    image, mask = scene()
    wrong = Move((0, 40, -45)).apply(mask)
    compared = compare((image, mask), (photographed_again(move, image), move.apply(wrong)))
    assert compared.differ
    assert "overlap" in compared.words


def test_a_class_that_one_lacks_differs_and_says_so():
    image, mask = scene()
    compared = compare((image, mask), (image, 0 * mask))
    assert compared.differ
    assert "spot is drawn in one (1,200 voxels) and not in the other" in compared.words


def test_what_only_one_image_shows_cannot_differ():
    """The second shows the left three quarters of the first, the spot lies in the last quarter."""
    _, mask = scene()
    spot = np.roll(mask, 35, 2)
    placement = Placement((0, 1), (), (0.0, 0.0), (1.0, 0.75))
    first, second = shrink_mask(spot, 2), shrink_mask(spot[..., :150], 2)
    assert second.shares.sum() == 0
    assert not compare_masks(first, second, placement, NAMES).differ
    within = shrink_mask(mask, 2)
    assert compare_masks(within, second, placement, NAMES).differ


def test_volumes_are_compared_as_well():
    image, mask = scene(shape=(20, 60, 200))
    mask[:8] = 0
    move = Move(flips=(0,))
    again = move.apply(image[0])[None]
    assert not compare((image, mask), (again, move.apply(mask))).differ
    assert compare((image, mask), (again, mask[:, ::-1, ::-1])).differ


def test_two_empty_masks_agree():
    image, mask = scene()
    assert not compare((image, 0 * mask), (image, 0 * mask)).differ


def test_a_miniature_keeps_areas():
    _, mask = scene()
    assert shrink_mask(mask, 2).shares.mean() == pytest.approx(mask.mean(), rel=1e-4)
