"""Planted shifts and mirrors are found with their movement; right masks are left alone."""

import numpy as np
import pytest
from scipy import ndimage

from rareseg.quality.audit.finding import Move
from rareseg.quality.audit.placement import find_misplaced, measure_alignment

SPACING = (1.0, 1.0, 1.0)


def scene(rng, shape=(1, 96, 80), contrast=3.0):
    """Texture with a few blobs, and the mask of the blobs; nowhere symmetric."""
    seeds = rng.normal(size=shape)
    sigma = [0 if n == 1 else 3 for n in shape]
    field = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    mask = field > np.quantile(field, 0.96)
    image = ndimage.gaussian_filter(seeds, [0 if n == 1 else 1 for n in shape])
    image = image / image.std() + contrast * mask
    return image[None].astype(np.float32), mask.astype(np.uint8)


def measured(moves, *, contrast=3.0, shape=(1, 96, 80), spacing=SPACING):
    rng = np.random.default_rng(8)
    found = {}
    for number, move in enumerate(moves):
        image, mask = scene(rng, shape, contrast)
        found[f"c{number}"] = measure_alignment(image, move.apply(mask), spacing)
    return found


def test_nothing_is_said_of_masks_that_lie_right():
    found = find_misplaced(measured([Move()] * 12))
    assert (found.moves, found.whole, found.silent) == ({}, None, "")
    assert found.n_judged == 12
    assert found.aligned == 1.0


@pytest.mark.parametrize("contrast", [3.0, -3.0])
def test_planted_movements_are_found_and_named(contrast):
    planted = {3: Move((0, 7, -9)), 6: Move(flips=(2,)), 9: Move(flips=(1,)), 11: Move((0, -8, 0))}
    found = find_misplaced(measured([planted.get(k, Move()) for k in range(16)], contrast=contrast))
    assert set(found.moves) == {f"c{k}" for k in planted}
    for number in (3, 11):
        back = np.add(found.moves[f"c{number}"].move.shift, planted[number].shift)
        assert np.abs(back).max() <= 1
    assert found.moves["c6"].move.flips == (2,)
    assert found.moves["c9"].move.flips == (1,)


def test_exchanged_axes_are_found_in_square_images():
    moves = [Move(transposed=True) if k == 4 else Move() for k in range(12)]
    found = find_misplaced(measured(moves, shape=(1, 88, 88)))
    assert set(found.moves) == {"c4"}
    assert found.moves["c4"].move.transposed


def test_thick_slices_are_judged_within_the_slice():
    shape, spacing = (10, 64, 56), (5.0, 1.0, 1.0)
    moves = [
        Move((0, 9, 0)) if k == 2 else Move(flips=(1,)) if k == 5 else Move() for k in range(10)
    ]
    found = find_misplaced(measured(moves, shape=shape, spacing=spacing))
    assert set(found.moves) == {"c2", "c5"}


def test_where_outlines_follow_no_edges_nothing_is_said():
    moves = [Move((0, 9, 9)) if k < 3 else Move() for k in range(16)]
    found = find_misplaced(measured(moves, contrast=0.0))
    assert not found.moves
    assert found.whole is None
    assert "no edges" in found.silent


def test_a_movement_that_all_need_is_said_of_the_whole():
    found = find_misplaced(measured([Move(flips=(1,))] * 12))
    assert found.whole == Move(flips=(1,))
    found = find_misplaced(measured([Move((0, 8, -6))] * 12))
    assert found.whole is not None
    assert np.abs(np.add(found.whole.shift, (0, 8, -6))).max() <= 1


def test_few_cases_say_nothing():
    found = find_misplaced(measured([Move(), Move((0, 9, 0))]))
    assert not found.moves
    assert "too few" in found.silent


def test_empty_masks_flat_images_and_tiny_images_have_no_outline():
    image, mask = scene(np.random.default_rng(0))
    assert measure_alignment(image, np.zeros_like(mask), SPACING) is None
    assert measure_alignment(np.ones_like(image), mask, SPACING) is None
    assert measure_alignment(image[:, :, :8, :8], np.ones((1, 8, 8), np.uint8), SPACING) is None


def test_large_images_are_reduced_and_the_shift_stays_in_voxels():
    rng = np.random.default_rng(2)
    image, mask = scene(rng)
    large, drawn = (np.repeat(np.repeat(a, 16, -1), 16, -2) for a in (image, mask))
    shifted = Move((0, 40, -32)).apply(drawn)
    found = measure_alignment(large, shifted, SPACING)
    assert np.abs(np.add(found.away.move.shift, (0, 40, -32))).max() <= 4
    assert found.away.score > found.drawn.score
