"""Images that are unlike those of the training are refused, larger ones are not."""

import numpy as np
import pytest

from rareseg_runner.image_records import Geometry, Image
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.preprocess import Preprocessing

FACTS = ImageFacts(2, ("uint8",), (10.0,), (240.0,))
DATASET = Preprocessing(method="dataset", mean=(100.0,), std=(40.0,))


def photo(values, dtype, dimension=2):
    array = np.linspace(*values, 400).reshape(1, 1, 20, 20).astype(dtype)
    return Image(array, Geometry(dimension=dimension))


def test_facts_come_back_from_what_is_written():
    assert ImageFacts.from_dict(FACTS.to_dict()) == FACTS


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ((0, 65535), "uint16", "(uint16)"),
        ((0, 1), "float32", "between 0.005 and 0.995"),
        ((-9000, 200), "int16", "bring it to their range"),
    ],
)
def test_another_range_of_values_is_refused(values, dtype, words):
    found = FACTS.misfit(photo(values, dtype), DATASET)
    assert found is not None
    assert words in found
    assert "10 and 240" in found


@pytest.mark.parametrize(
    ("values", "dtype"), [((0, 255), "uint8"), ((0, 600), "uint16"), ((7, 7), "uint8")]
)
def test_what_is_brighter_or_flat_is_taken(values, dtype):
    assert FACTS.misfit(photo(values, dtype), DATASET) is None


def test_what_each_image_is_normalised_by_itself_may_have_any_range():
    wide = photo((0, 65535), "uint16")
    assert FACTS.misfit(wide, Preprocessing(method="zscore")) is None
    assert FACTS.misfit(wide, Preprocessing(method="range")) is None


def test_a_volume_for_a_model_of_photographs_is_refused():
    found = FACTS.misfit(photo((0, 255), "uint8", dimension=3), DATASET)
    assert found == "the image is a volume, and the model was trained on photographs"


VOLUMES = ImageFacts(3, ("int16",), (-1000.0,), (1500.0,), (1.0, 0.5, 0.5), (3.0, 0.8, 0.8))


def volume(spacing):
    array = np.linspace(-900, 1400, 64).reshape(1, 4, 4, 4).astype(np.int16)
    return Image(array, Geometry(spacing=spacing, dimension=3))


def test_voxels_of_another_size_are_refused_where_masks_would_mean_nothing():
    alone = Preprocessing(dimension=3, method="zscore")
    resampled = Preprocessing(dimension=3, method="zscore", target_spacing=(2.0, 0.7, 0.7))
    assert VOLUMES.misfit(volume((2.0, 0.6, 0.6)), alone) is None
    told = VOLUMES.misfit(volume((2.0, 0.1, 0.1)), alone)
    assert told is not None
    assert "0.1 mm along y" in told
    assert "0.5 to 0.8 mm" in told
    assert VOLUMES.misfit(volume((2.0, 0.1, 0.1)), resampled) is None
    in_metres = VOLUMES.misfit(volume((0.002, 0.0006, 0.0006)), resampled)
    assert in_metres is not None
    assert "correct the spacing" in in_metres


def test_what_may_still_be_right_is_told():
    assert VOLUMES.remarks(volume((2.0, 0.6, 0.6))) == ()
    (told,) = VOLUMES.remarks(volume((5.0, 0.6, 0.6)))
    assert "along z than those that the model was trained on (1 to 3 mm)" in told
    (told,) = FACTS.remarks(photo((0, 255), "uint16"))
    assert told == "numbers of type uint16; the model was trained on uint8"
    colours = ImageFacts(2, ("uint8",), (0.0,) * 3, (255.0,) * 3, grey=False)
    grey = Image(np.repeat(photo((0, 255), "uint8").array, 3, axis=0), Geometry())
    assert colours.remarks(grey) == ("grey, stored as colours; the model was trained on colours",)


def test_eight_bits_kept_in_sixteen_are_refused_where_the_type_gives_the_range():
    by_type = Preprocessing(method="range")
    assert FACTS.misfit(photo((0, 65535), "uint16"), by_type) is None
    dark = FACTS.misfit(photo((0, 255), "uint16"), by_type)
    assert dark is not None
    assert "number type" in dark
    deep = ImageFacts(2, ("uint16",), (100.0,), (60000.0,))
    wide = Preprocessing(method="dataset", mean=(30000.0,), std=(9000.0,))
    assert deep.misfit(photo((0, 255), "uint8"), wide) is not None
