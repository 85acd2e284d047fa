"""What lies far from all other intensities: found, limited, and nothing else is touched."""

import numpy as np
import pytest

from rareseg_runner.image_records import Geometry, Image
from rareseg_runner.preprocessing.intensity_limits import find_limits
from rareseg_runner.preprocessing.preprocess import Preprocessing, prepare

RNG = np.random.default_rng(5)


def unit(shape=(12, 20, 24)):
    return RNG.uniform(0, 1, shape).astype(np.float32)


def test_a_fill_value_is_moved_to_the_end_of_the_rest():
    image = unit()
    image[:3] = -9999
    limits = find_limits(image)
    assert limits is not None
    assert limits.fill == -9999
    assert limits.low == image[3:].min()
    assert limits.n_outside == image[:3].size
    assert np.array_equal(limits.apply(image)[3:], image[3:])
    assert (limits.apply(image)[:3] == limits.low).all()


def test_a_fill_value_above():
    image = unit()
    image[:3] = 3.4e38
    limits = find_limits(image)
    assert limits is not None
    assert (limits.fill, limits.high) == (pytest.approx(3.4e38), image[3:].max())


def test_a_hot_voxel_is_limited_and_stays_the_hottest():
    image = unit()
    image[5, 5, 5] = 1e6
    limits = find_limits(image)
    assert limits is not None
    assert limits.fill is None
    assert limits.n_outside == 1
    kept = limits.apply(image)
    assert kept.max() == kept[5, 5, 5] > 50


@pytest.mark.parametrize(
    "image",
    [
        unit(),
        np.zeros((4, 4), np.float32),
        np.where(unit() > 0.999, 100, unit()),  # rare bright objects
        np.where(unit() > 0.3, 0, unit()),  # a background of exactly 0
        np.array([], np.float32),
        (unit() > 0.5).astype(np.float32),
    ],
)
def test_nothing_else_is_touched(image):
    assert find_limits(image) is None


@pytest.mark.parametrize("value", [-9999.0, 1e6])
def test_the_store_keeps_levels(value):
    image = unit()
    image[2, 3, :4] = value
    found = prepare(Image(image[None], Geometry(dimension=3)), Preprocessing(dimension=3))
    assert len(np.unique(found.array)) > 300


def test_integers_are_kept_exactly():
    image = RNG.integers(0, 50, (1, 4, 20, 20)).astype(np.int16)
    image[0, 0, 0, 0] = -32000
    found = prepare(Image(image, Geometry(dimension=3)), Preprocessing(dimension=3))
    assert np.array_equal(found.array, image)
