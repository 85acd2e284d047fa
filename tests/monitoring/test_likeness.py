"""Nearest known images: by brute force, and which are unlike all known ones."""

from __future__ import annotations

import numpy as np

from rareseg.monitoring.likeness import nearest_images


def test_the_nearest_is_that_of_a_plain_search(observed):
    known = [observed(k, f"g{k % 20}") for k in range(60)]
    stream = [observed(k) for k in range(100, 130)]
    found = nearest_images(known, stream)
    names = [f for f in known[0].values if not f.region and f.name != "size"]
    table = np.array([[one.values[f] for f in names] for one in known])
    width = np.subtract(*np.percentile(table, (75, 25), axis=0))
    for one in found:
        own = np.array([one.image.values[f] for f in names])
        apart = np.sqrt((((table - own) / width) ** 2).mean(axis=1))
        assert one.nearest is known[int(apart.argmin())]
        assert abs(one.distance - apart.min()) < 1e-9
    assert [one.distance for one in found] == sorted((o.distance for o in found), reverse=True)


def test_what_lies_far_out_is_unlike_and_says_in_what(observed):
    known = [observed(k) for k in range(50)]
    strange, usual = observed(200, sharpness=40.0), observed(201, mean=0.0, sharpness=0.0)
    first, second = nearest_images(known, [usual, strange])
    assert (first.image, first.unlike, first.most.name) == (strange, True, "sharpness")
    assert (second.image, second.unlike) == (usual, False)


def test_a_copy_of_a_known_image_is_at_no_distance(observed):
    known = [observed(k) for k in range(20)]
    (found,) = nearest_images(known, [known[7]])
    assert (found.nearest, found.distance, found.unlike) == (known[7], 0.0, False)


def test_one_known_group_says_nothing_of_how_far_others_lie(observed):
    known = [observed(k, "one") for k in range(5)]
    assert not any(one.unlike for one in nearest_images(known, [observed(9, mean=99.0)]))


def test_a_value_that_all_known_images_share_is_no_division_by_nought(observed):
    known = [observed(k, mean=3.0) for k in range(10)]
    (found,) = nearest_images(known, [observed(50, mean=3.0)])
    assert np.isfinite(found.distance)


def test_nothing_is_near_where_there_is_nothing(observed):
    assert nearest_images([], [observed(1)]) == ()
    assert nearest_images([observed(1)], []) == ()
