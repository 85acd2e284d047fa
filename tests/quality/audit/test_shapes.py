"""Islands, holes, frames, surface distances and parts, on masks that can be counted by eye."""

import numpy as np
import pytest

from rareseg.quality.audit.shapes import describe_shapes
from rareseg_runner.image_records import IGNORE, Classes

ONE = Classes(("background", "spot"), (0, 1), {"spot": (1,)})
NESTED = Classes(("background", "rim", "core"), (0, 1, 2), {"whole": (1, 2), "core": (2,)})


def disc(shape, centre, radius, value=1):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return np.where(inside, value, 0).astype(np.uint8)


def flat(mask):
    return np.asarray(mask, np.uint8)[None]


def test_nothing_drawn_gives_zeros():
    shapes = describe_shapes(np.zeros((1, 20, 20), np.uint8), ONE)
    assert (shapes.n_objects, shapes.n_islands, shapes.n_holes, shapes.n_cut) == (0, 0, 0, 0)
    assert shapes.sizes == {"spot": ()}
    assert shapes.usual_size == 0


def test_islands_are_counted_where_they_lie():
    mask = flat(disc((30, 40), (15, 20), 6))
    mask[0, 3, 5] = mask[0, 25, 35] = 1
    shapes = describe_shapes(mask, ONE)
    assert shapes.n_objects == 3
    assert shapes.islands == (((0, 1), (3, 4), (5, 6)), ((0, 1), (25, 26), (35, 36)))
    assert shapes.usual_size == (mask.sum() - 2)


def test_what_the_border_cuts_to_one_voxel_is_no_island():
    mask = flat(disc((30, 40), (15, 20), 6))
    mask[0, 0, 7] = 1
    shapes = describe_shapes(mask, ONE)
    assert (shapes.n_islands, shapes.n_cut) == (0, 1)


@pytest.mark.parametrize("shape", [(1, 40, 40), (21, 40, 40)])
def test_a_small_hole_is_found_in_a_disc_and_in_a_ball(shape):
    middle = (shape[0] // 2, 20, 20)
    mask = disc(shape, middle, 8)
    mask[middle[0], 18:20, 21] = 0
    shapes = describe_shapes(mask, ONE)
    z = middle[0]
    assert shapes.holes == (((z, z + 1), (18, 20), (21, 22)),)


def test_rings_nets_and_ignored_voxels_have_no_small_holes():
    ring = flat(disc((40, 40), (20, 20), 10)) * (flat(disc((40, 40), (20, 20), 6)) == 0)
    assert describe_shapes(ring.astype(np.uint8), ONE).n_holes == 0
    net = np.zeros((1, 40, 40), np.uint8)
    net[0, 5:36:6] = net[0, :, 5:36:6] = 1
    assert describe_shapes(net, ONE).n_holes == 0
    spared = flat(disc((40, 40), (20, 20), 10))
    spared[0, 20, 20] = IGNORE
    assert describe_shapes(spared, ONE).n_holes == 0


def test_a_notch_at_the_border_is_no_hole():
    mask = np.zeros((1, 30, 30), np.uint8)
    mask[0, :12, 5:20] = 1
    mask[0, 0, 10] = 0
    assert describe_shapes(mask, ONE).n_holes == 0


def test_a_thin_strip_along_a_side_is_a_frame_and_a_large_object_is_none():
    mask = flat(disc((60, 80), (30, 40), 6))
    mask[0, :, -2:] = 1
    assert describe_shapes(mask, ONE).frame == (((0, 1), (0, 60), (78, 80)),)
    mask[0, :, -30:] = 1
    assert describe_shapes(mask, ONE).frame == ()


def test_parts_without_their_whole_are_told_where_regions_are_declared():
    mask = np.zeros((1, 60, 60), np.uint8)
    mask[0] = disc((60, 60), (20, 20), 8)
    mask[0][disc((60, 60), (20, 20), 4) > 0] = 2
    mask[0][disc((60, 60), (45, 45), 4) > 0] = 2
    (nested,) = describe_shapes(mask, NESTED, nested=True).nested
    assert (nested.outer, nested.inner, nested.n_parts) == ("whole", "core", 2)
    assert nested.bare == (((0, 1), (41, 50), (41, 50)),)
    assert describe_shapes(mask, NESTED).nested == ()


def test_sizes_are_those_of_every_region():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 2:6, 2:6] = 1
    mask[0, 3, 3] = 2
    mask[0, 10:12, 10:12] = 1
    shapes = describe_shapes(mask, NESTED)
    assert sorted(shapes.sizes["whole"]) == [4, 16]
    assert shapes.sizes["core"] == (1,)
