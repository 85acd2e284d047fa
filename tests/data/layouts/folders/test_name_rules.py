"""One rule of names pairs images and masks."""

import pytest

from rareseg.data.layouts.folders.name_rules import MaskName, Names, pair_names, read_parts
from rareseg.errors import UsageError


def paired(images, masks, said=None):
    found = pair_names([Names(tuple(images), tuple(masks))], said and MaskName.read(said))
    return dict(found.pairs[0]), dict(found.parts[0])


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{0:03d}", "{0:03d}"),
        ("{0:03d}", "{0:03d}_mask"),
        ("x{0}", "x{0}_segmentation"),
        ("x{0}", "gt_x{0}"),
        ("x{0}", "x{0}-anything"),
        ("c{0}", "c{0}.seg"),
        ("image_{0:03d}", "mask_{0:03d}"),
        ("img{0}", "label{0}"),
        ("{0}_training", "{0}_manual1"),
        ("a_{0:06d}_leftImg8bit", "a_{0:06d}_gtFine_labelIds"),
        ("IMG{0}", "img{0}"),
        ("Größe_é{0}", "Größe_é{0}"),
    ],
)
def test_every_mask_finds_its_image(image, mask):
    images, masks = ([pattern.format(k) for k in range(1, 31)] for pattern in (image, mask))
    pairs, _ = paired(images, masks[::2])
    assert pairs == {masks[k]: images[k] for k in range(0, 30, 2)}


def test_a_mask_is_not_taken_for_another_number():
    pairs, _ = paired(["1", "10", "11"], ["1_mask", "11_mask"])
    assert pairs == {"1_mask": "1", "11_mask": "11"}


def test_a_copy_belongs_to_nothing():
    pairs, _ = paired(["c0", "c1", "c2"], ["c0", "c1", "c2", "c0 (1)"])
    assert "c0 (1)" not in pairs
    assert len(pairs) == 3


def test_twins_in_capitals_stay_apart():
    pairs, _ = paired(["a", "A"], ["A", "a"])
    assert pairs == {"a": "a", "A": "A"}


def test_several_masks_of_an_image_are_classes_or_objects():
    _, parts = paired(["x1", "x2"], ["x1_liver", "x1_spleen", "x2_liver", "x2_spleen"])
    assert parts["x2_spleen"] == "spleen"
    assert read_parts(list(parts.values())) == "classes"
    _, parts = paired(["x1", "x2"], ["x1_mask", "x1_mask_1", "x2_mask"])
    assert read_parts(list(parts.values())) == "objects"


def test_unclear_parts_pair_nothing_more():
    pairs, parts = paired(["a", "b"], ["a_mask", "b_mask", "a_mask_old"])
    assert pairs == {"a_mask": "a", "b_mask": "b"}
    assert parts == {}


def test_what_is_said_is_the_only_rule():
    images, masks = ["a", "b"], ["a", "b", "a_gt", "b_GT"]
    assert paired(images, masks, "{id}_gt")[0] == {"a_gt": "a", "b_GT": "b"}
    assert paired(images, masks, "{id}_gt.png")[0] == {"a_gt": "a", "b_GT": "b"}
    with pytest.raises(UsageError, match=r"--mask-name is 'x_mask'.*\{id\}"):
        MaskName.read("x_mask")
