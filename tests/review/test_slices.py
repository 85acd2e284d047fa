"""A slice as bytes says the same as the arrays that it was cut from."""

import numpy as np
import pytest

from rareseg.data.records import Case
from rareseg.quality.suspects import Suspect
from rareseg.review.affected_voxels import AffectedVoxels
from rareseg.review.case_reader import ViewedCase, _range_and_window
from rareseg.review.slices import (
    AFFECTED,
    COLOUR,
    DRAWN,
    IGNORED,
    LARGEST,
    PREDICTED,
    SliceWindow,
    describe_case,
    frame_of,
    masks_of,
    pixels_of,
    plane_of,
)
from rareseg_runner.image_records import IGNORE, Classes, Geometry, Image

RNG = np.random.default_rng(2)
CLASSES = Classes(("background", "a", "b"), (0, 1, 2), {"whole": (1, 2), "b": (2,)})


def looked_at(array: np.ndarray, labels=None, predicted=None) -> ViewedCase:
    nothing = np.zeros(array.shape[1:], np.uint8)
    ranges, windows = zip(*map(_range_and_window, array), strict=True)
    return ViewedCase(
        Case("c", (), None),
        Image(array, Geometry()),
        nothing if labels is None else labels,
        nothing if predicted is None else predicted,
        np.array(ranges),
        np.array(windows),
        AffectedVoxels(
            nothing if labels is None else labels,
            nothing if predicted is None else predicted,
            CLASSES,
        ),
    )


def item(box, *, kind="missed object", region="whole", plane=0) -> Suspect:
    return Suspect("i", "c", None, region, kind, 0.5, box, 1, plane, "")


def whole(array: np.ndarray) -> SliceWindow:
    return SliceWindow(0, 0, *array.shape[-2:], 1)


def test_a_colour_photograph_comes_as_it_is():
    array = RNG.integers(0, 256, (3, 1, 5, 7), np.uint8)
    sent = pixels_of(looked_at(array), whole(array), plane=0, channel=COLOUR)
    assert np.array_equal(
        np.frombuffer(sent, np.uint8).reshape(5, 7, 3), array[:, 0].transpose(1, 2, 0)
    )
    one = pixels_of(looked_at(array), whole(array), plane=0, channel=2)
    assert np.array_equal(np.frombuffer(one, np.uint8).reshape(5, 7), array[2, 0])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32])
def test_deep_values_come_back_to_a_65535th_of_the_range(dtype):
    array = (1000 * RNG.normal(size=(2, 4, 6, 5)) + 2000).clip(0, 9000).astype(dtype)
    viewed = looked_at(array)
    sent = np.frombuffer(pixels_of(viewed, whole(array), plane=3, channel=1), "<u2").reshape(6, 5)
    low, high = viewed.ranges[1]
    assert (low, high) == (array[1].min(), array[1].max())
    back = low + sent * (high - low) / 65535
    assert np.abs(back - array[1, 3]).max() <= 0.51 * (high - low) / 65535


def test_what_is_no_number_is_black():
    array = np.array([[[[np.nan, 0.0], [np.inf, 4.0]]]], np.float32)
    sent = pixels_of(looked_at(array), whole(array), plane=0, channel=0)
    assert np.frombuffer(sent, "<u2").tolist() == [0, 0, 65535, 65535]


def test_masks_say_what_is_drawn_predicted_and_ignored_of_the_region():
    labels = RNG.choice([0, 1, 2, IGNORE], (3, 6, 5)).astype(np.uint8)
    predicted = RNG.choice([0, 1, 2], (3, 6, 5)).astype(np.uint8)
    viewed = looked_at(np.zeros((1, 3, 6, 5), np.uint8), labels, predicted)
    affected = RNG.random((3, 6, 5)) < 0.5
    sent = masks_of(
        viewed, SliceWindow(1, 2, 4, 3, 1), affected, plane=1, region="b", classes=CLASSES
    )
    bits = np.frombuffer(sent, np.uint8).reshape(4, 3)
    cut = np.s_[1, 1:5, 2:5]
    assert np.array_equal((bits & DRAWN) > 0, labels[cut] == 2)
    assert np.array_equal((bits & PREDICTED) > 0, predicted[cut] == 2)
    assert np.array_equal((bits & IGNORED) > 0, labels[cut] == IGNORE)
    assert np.array_equal((bits & AFFECTED) > 0, affected[cut])


def test_where_pixels_are_left_out_no_speck_is_lost():
    labels = np.zeros((1, 10, 11), np.uint8)
    labels[0, 5, 7] = 1
    viewed = looked_at(np.zeros((1, 1, 10, 11), np.uint8), labels)
    nothing = np.zeros(labels.shape, bool)
    frame = SliceWindow(0, 0, 4, 4, 3)
    sent = masks_of(viewed, frame, nothing, plane=0, region="whole", classes=CLASSES)
    bits = np.frombuffer(sent, np.uint8).reshape(4, 4)
    assert np.argwhere(bits & DRAWN).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "sides", [(100, 90), (LARGEST, LARGEST), (LARGEST + 1, 50), (50_000, 70_000)]
)
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_what_is_sent_is_bounded_and_holds_the_place_in_full(sides, place):
    low = [int(place * (side - 20)) for side in sides]
    box = ((0, 1), *((start, start + 20) for start in low))
    frame = frame_of((1, *sides), box)
    assert frame.step == 1
    assert max(frame.height, frame.width) <= LARGEST
    for start, size, side, (first, last) in zip(
        (frame.y, frame.x), (frame.height, frame.width), sides, box[1:], strict=True
    ):
        assert 0 <= start <= first < last <= start + size <= side


def test_a_place_that_is_too_large_is_sent_reduced():
    frame = frame_of((1, 10_000, 9000), ((0, 1), (0, 10_000), (0, 9000)))
    assert (frame.y, frame.x, frame.step) == (0, 0, 3)
    assert max(frame.height, frame.width) <= LARGEST
    array = RNG.integers(0, 256, (1, 1, 10, 9), np.uint8)
    sent = pixels_of(looked_at(array), SliceWindow(0, 0, 4, 3, 3), plane=0, channel=0)
    assert np.array_equal(np.frombuffer(sent, np.uint8).reshape(4, 3), array[0, 0, ::3, ::3])


def test_a_worst_case_opens_where_most_is_wrong_and_a_suspect_where_it_lies():
    labels, predicted = np.zeros((2, 5, 8, 8), np.uint8)
    labels[1, :4] = 1
    predicted[1, :4] = 1
    predicted[3, :2] = 2
    labels[4, 0] = IGNORE
    predicted[4, 0] = 2
    viewed = looked_at(np.zeros((1, 5, 8, 8), np.uint8), labels, predicted)
    box = ((0, 5), (0, 8), (0, 8))
    assert plane_of(viewed, item(box, kind="worst case", plane=2), CLASSES) == 3
    assert plane_of(viewed, item(box, plane=2), CLASSES) == 2


def test_the_classes_at_stake_are_counted():
    labels, predicted = np.zeros((2, 1, 6, 6), np.uint8)
    labels[0, :2, :3] = 1
    predicted[0, 1:4, 2:5] = 2
    viewed = looked_at(np.zeros((3, 1, 6, 6), np.uint8), labels, predicted)
    place = item(((0, 1), (0, 3), (0, 4)))
    affected = viewed.affected.of(place)
    about = describe_case(viewed, place, affected, CLASSES, ("red",))
    assert about["drawn"] == {"a": 6}
    assert about["predicted"] == {"b": 9}
    assert about["changes"] == 14
    assert [channel["name"] for channel in about["channels"]] == [
        "colour",
        "red",
        "channel 2",
        "channel 3",
    ]
