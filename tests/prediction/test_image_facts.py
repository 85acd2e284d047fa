"""Images that are unlike those of the training are refused, larger ones are not."""

import numpy as np
import pytest

from rareseg.data.records import Geometry, Image
from rareseg.data.store.preprocess import Preprocessing
from rareseg.prediction.image_facts import ImageFacts

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
