"""Grey and coloured photographs for models of the other kind."""

import numpy as np
import PIL.Image
import pytest

from rareseg_runner.image_records import Geometry, Image
from rareseg_runner.preprocessing.photo_channels import with_channels


def test_grey_is_repeated():
    grey = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    image, said = with_channels(Image(grey, Geometry()), 3)
    assert said is not None
    np.testing.assert_array_equal(image.array, np.repeat(grey, 3, axis=0))


def test_colours_become_grey_as_pillow_makes_them():
    colours = np.random.default_rng(0).integers(0, 256, (3, 1, 20, 30)).astype(np.uint8)
    image, said = with_channels(Image(colours, Geometry()), 1)
    theirs = PIL.Image.fromarray(np.moveaxis(colours[:, 0], 0, -1)).convert("L")
    assert said is not None
    assert image.array.dtype == np.uint8
    assert np.abs(image.array[0, 0].astype(int) - np.asarray(theirs, int)).max() <= 1


@pytest.mark.parametrize(
    ("shape", "dimension", "wanted"),
    [((1, 2, 3, 3), 3, 3), ((3, 2, 3, 3), 3, 1), ((4, 1, 3, 3), 2, 3), ((3, 1, 3, 3), 2, 3)],
)
def test_everything_else_stays(shape, dimension, wanted):
    image = Image(np.zeros(shape, np.uint8), Geometry(dimension=dimension))
    assert with_channels(image, wanted) == (image, None)
