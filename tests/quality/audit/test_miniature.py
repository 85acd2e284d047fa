"""Masks of the same content are compared wherever the images can be laid over each other."""

import numpy as np
import pytest
from scipy import ndimage

from rareseg.quality.audit.finding import Move
from rareseg.quality.audit.miniature import compare_masks, shrink_case

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


def small(image, mask):
    return shrink_case(image, mask, 2)


MOVES = [Move(), Move((0, 8, -10)), Move(flips=(2,)), Move((0, 4, 0), (1, 2))]


@pytest.mark.parametrize("move", MOVES, ids=Move.words)
def test_the_same_mask_agrees_however_the_copy_was_made(move):
    image, mask = scene()
    again = photographed_again(move, image) * 1.3 + 12
    assert not compare_masks(small(image, mask), small(again, move.apply(mask)), NAMES).differ


def test_another_size_and_turn_agree():
    image, mask = scene(shape=(1, 150, 150))
    turned = np.swapaxes(image, 2, 3)[:, :, ::2, ::2]
    other = np.swapaxes(mask, 1, 2)[:, ::2, ::2]
    assert not compare_masks(small(image, mask), small(turned, other), NAMES).differ


@pytest.mark.parametrize("move", MOVES, ids=Move.words)
def test_a_mask_elsewhere_differs_however_the_copy_was_made(move):
    image, mask = scene()
    wrong = Move((0, 40, -45)).apply(mask)
    compared = compare_masks(
        small(image, mask), small(photographed_again(move, image), move.apply(wrong)), NAMES
    )
    assert compared.differ
    assert "overlap" in compared.words


def test_a_class_that_one_lacks_differs_and_says_so():
    image, mask = scene()
    compared = compare_masks(small(image, mask), small(image, 0 * mask), NAMES)
    assert compared.differ
    assert "spot is drawn in one (1,200 voxels) and not in the other" in compared.words


def test_masks_of_images_that_cannot_be_aligned_are_compared_by_area_alone():
    image, mask = scene(0)
    other, _ = scene(1)
    elsewhere = Move((0, 40, -45)).apply(mask)
    assert not compare_masks(small(image, mask), small(other, elsewhere), NAMES).differ
    tiny = np.zeros_like(mask)
    tiny[0, 100:110, 20:30] = 1
    compared = compare_masks(small(image, mask), small(other, tiny), NAMES)
    assert compared.differ
    assert "12.0 times" in compared.words


def test_volumes_are_compared_as_well():
    image, mask = scene(shape=(20, 60, 200))
    mask[:8] = 0
    move = Move(flips=(0,))
    again = move.apply(image[0])[None]
    assert not compare_masks(small(image, mask), small(again, move.apply(mask)), NAMES).differ
    assert compare_masks(small(image, mask), small(again, mask[:, ::-1, ::-1]), NAMES).differ


def test_two_empty_masks_agree():
    image, mask = scene()
    assert not compare_masks(small(image, 0 * mask), small(image, 0 * mask), NAMES).differ


def test_a_miniature_keeps_areas():
    image, mask = scene()
    own = small(image, mask)
    assert own.areas[0] == pytest.approx(mask.mean(), rel=1e-4)
    assert own.grey.mean() == pytest.approx(image.mean(), rel=1e-4)
