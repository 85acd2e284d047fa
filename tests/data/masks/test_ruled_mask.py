"""Masks read by rules: the labels that are meant, derived by hand, and what is refused."""

import numpy as np
import PIL.Image
import pytest

from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset
from rareseg.data.masks.class_files import ClassFiles
from rareseg.data.masks.ruled_mask import RuledMask
from rareseg.data.records import MaskRules
from rareseg.errors import ReadError, UsageError
from rareseg_runner.image_records import Geometry, Image

SPECK = np.zeros((8, 8), np.uint8)
SPECK[2:4, 3:6] = 1


def image(shape=(8, 8)):
    return Image(np.zeros((1, 1, *shape), np.uint8), Geometry())


def saved(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)
    return path


def labels(path, **rules):
    return RuledMask(path, MaskRules(**rules)).read(image()).array[0]


def test_inverted_masks_change_places_but_for_what_is_ignored(tmp_path):
    values = (1 - SPECK) * np.uint8(200)
    values[0, 0] = 255
    path = saved(tmp_path / "a.png", values)
    right = SPECK.copy()
    assert np.array_equal(labels(path, invert=True), right)
    right[0, 0] = 255
    assert np.array_equal(labels(path, invert=True, ignore_value=255), right)


@pytest.mark.parametrize("threshold", [128, 0.5])
def test_what_is_at_least_the_threshold_is_foreground(tmp_path, threshold):
    path = tmp_path / "a.npy"
    scale = 255 if threshold > 1 else 1.0
    np.save(path, (SPECK * 0.6 + 0.2).astype(np.float32) * np.float32(scale))
    assert np.array_equal(labels(path, binarize=threshold), SPECK)


def test_numbered_objects_are_one_class(tmp_path):
    path = saved(tmp_path / "a.png", SPECK * np.uint8(7))
    assert np.array_equal(labels(path, values_are="objects"), SPECK)


def test_colours_are_numbered_as_they_are_named(tmp_path):
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[SPECK == 1] = (255, 0, 0)
    colours[7, 7] = (0, 128, 0)
    path = saved(tmp_path / "a.png", colours)
    right = SPECK * np.uint8(2)
    right[7, 7] = 1
    assert np.array_equal(labels(path, colours=("008000", "ff0000")), right)
    with pytest.raises(ReadError, match="colour 008000, which --colours ff0000 does not name"):
        labels(path, colours=("ff0000",))


def test_masks_of_another_size_are_resized_and_it_is_counted(tmp_path):
    path = saved(tmp_path / "a.png", SPECK)
    mask = RuledMask(path, MaskRules(resize=True)).read(image((16, 16)))
    assert np.array_equal(mask.array[0], SPECK.repeat(2, 0).repeat(2, 1))
    assert mask.changes == ("resized to the image's size",)
    assert RuledMask(path, MaskRules(resize=True)).read(image((9, 8))).array.shape == (1, 9, 8)
    with pytest.raises(ReadError, match="other proportions"):
        RuledMask(path, MaskRules(resize=True)).read(image((8, 24)))


def test_the_earlier_of_overlapping_classes_is_on_top(tmp_path):
    a = saved(tmp_path / "a.png", SPECK)
    b = saved(tmp_path / "b.png", np.ones((8, 8), np.uint8))
    later = ClassFiles(((1, a), (2, b)))
    earlier = later.earlier_on_top()
    assert (later.read(image()).array == 2).all()
    assert np.array_equal(earlier.read(image()).array[0], 2 - SPECK)
    assert later.read(image()).overlap == earlier.read(image()).overlap == 6


def test_a_data_set_reads_by_its_rules(tmp_path):
    saved(tmp_path / "images" / "a.png", np.zeros((8, 8), np.uint8))
    saved(tmp_path / "masks" / "a.png", 1 - SPECK)
    dataset = open_dataset(tmp_path, rules=MaskRules(invert=True, ignore_value=9))
    assert dataset.ignore_value == 9
    assert np.array_equal(read_case_mask(dataset.cases[0]).array[0], SPECK)
    plain = open_dataset(tmp_path, rules=MaskRules(invert=False))
    assert plain.cases[0].mask == tmp_path / "masks" / "a.png"


def test_rules_are_kept_as_plain_values():
    rules = MaskRules(invert=False, binarize=0.5, colours=("ff0000",), overlap="earlier")
    assert rules.to_dict() == {
        "invert": False,
        "binarize": 0.5,
        "colours": ["ff0000"],
        "overlap": "earlier",
    }
    assert MaskRules.from_dict(rules.to_dict()) == rules
    assert MaskRules().to_dict() == {}
    with pytest.raises(TypeError):
        MaskRules.from_dict({"upside_down": True})


def test_an_order_that_cannot_be_turned_round_is_refused(tmp_path):
    path = saved(tmp_path / "a.png", SPECK)
    with pytest.raises(UsageError, match="cannot be drawn in another order"):
        RuledMask(path, MaskRules()).earlier_on_top()
