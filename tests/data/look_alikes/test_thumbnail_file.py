"""Thumbnails that lie in a temporary file are the ones that were put there."""

import pickle

import numpy as np

from rareseg.data.look_alikes import ThumbnailFile, make_thumbnail
from rareseg_runner.image_records import Geometry, Image

RNG = np.random.default_rng(7)


def thumbnail(*shape):
    image = Image(RNG.integers(0, 255, (1, *shape)).astype(np.uint8), Geometry(dimension=2))
    return make_thumbnail(image)


def test_what_is_put_comes_back_by_its_number():
    flat = make_thumbnail(Image(np.zeros((1, 1, 9, 9), np.uint8), Geometry(dimension=2)))
    assert flat is None
    shapes = [(1, 40, 30), (1, 64, 64), (12, 20, 16)]
    given = [thumbnail(*shape) for shape in shapes]
    shelf = ThumbnailFile()
    numbers = [shelf.put(one) for one in (given[0], flat, *given[1:])]
    assert numbers == [0, None, 1, 2]
    for one, back in zip(given, shelf.thumbnails(), strict=True):
        assert back.picture.dtype == np.int8
        np.testing.assert_array_equal(back.picture, one.picture)
        np.testing.assert_array_equal(back.values, one.values)
        assert (back.extent, back.shape) == (one.extent, one.shape)
        assert back.spectrum is one.spectrum
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(back)).picture, one.picture)


def test_the_pictures_stay_when_the_file_is_forgotten():
    given = thumbnail(1, 50, 50)
    shelf = ThumbnailFile()
    shelf.put(given)
    (back,) = shelf.thumbnails()
    del shelf
    np.testing.assert_array_equal(back.picture, given.picture)


def test_nothing_gives_nothing():
    assert ThumbnailFile().thumbnails() == []
