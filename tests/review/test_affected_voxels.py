"""What is affected equals the same rule with sets of voxels, and is what a reader expects."""

import numpy as np
import pytest

from rareseg.errors import RunError
from rareseg.quality.suspects import Suspect
from rareseg.review.affected_voxels import AffectedVoxels
from rareseg_runner.image_records import IGNORE, Classes

CLASSES = Classes(("background", "a", "b"), (0, 1, 2), {"whole": (1, 2), "b": (2,)})


def item(box, region="whole") -> Suspect:
    return Suspect("i", "c", None, region, "missed object", 0.5, box, 1, 0, "")


def drawing(*rows: str) -> np.ndarray:
    """One slice of class indices from a drawing."""
    return np.array([[[int(char) if char != "." else 0 for char in row] for row in rows]], np.uint8)


def shown(affected: np.ndarray) -> list[str]:
    return ["".join("#" if on else "." for on in row) for row in affected[0]]


def test_a_prediction_that_reaches_beyond_the_label_is_whole_and_a_neighbour_is_left_alone():
    labels = drawing(
        ".........",
        "..11...11",
        "..11..111",
        ".....1111",
    )
    predicted = drawing(
        ".222.....",
        ".222.....",
        ".222.....",
        ".........",
    )
    # the frame of the drawn object, into which the neighbour does not reach
    assert shown(AffectedVoxels(labels, predicted, CLASSES).of(item(((0, 1), (1, 3), (2, 4))))) == [
        ".###.....",
        ".###.....",
        ".###.....",
        ".........",
    ]
    # a frame into which the neighbour reaches with less than half of itself
    wide = item(((0, 1), (0, 4), (0, 7)))
    assert not AffectedVoxels(labels, predicted, CLASSES).of(wide)[0, :, 5:].any()


def test_a_frame_around_a_part_of_a_object_is_about_that_part():
    labels = drawing("1111111111")
    predicted = drawing("2222222222")
    part = item(((0, 1), (0, 1), (2, 5)))
    assert shown(AffectedVoxels(labels, predicted, CLASSES).of(part)) == ["..###....."]


def test_what_was_ignored_is_never_at_stake():
    labels = drawing(".11..")
    labels[0, 0, 3] = IGNORE
    predicted = drawing("..22.")
    assert shown(AffectedVoxels(labels, predicted, CLASSES).of(item(((0, 1), (0, 1), (0, 5))))) == [
        ".##.."
    ]


def test_nothing_drawn_and_nothing_predicted_is_nothing_at_stake():
    nothing = np.zeros((2, 3, 4), np.uint8)
    assert not AffectedVoxels(nothing, nothing, CLASSES).of(item(((0, 2), (0, 3), (0, 4)))).any()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(1, 24, 24), (5, 10, 11)])
@pytest.mark.parametrize("region", ["whole", "b"])
def test_the_rule_with_sets_of_voxels(seed, shape, region, at_stake):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0] * 12 + [1, 2, IGNORE], shape).astype(np.uint8)
    predicted = rng.choice([0] * 12 + [1, 2], shape).astype(np.uint8)
    affected = AffectedVoxels(labels, predicted, CLASSES)
    for _ in range(4):
        low = [int(rng.integers(0, side)) for side in shape]
        box = tuple((a, int(rng.integers(a, n)) + 1) for a, n in zip(low, shape, strict=True))
        expected = at_stake(labels, predicted, CLASSES.regions[region], box)
        assert np.array_equal(affected.of(item(box, region)), expected)


def test_a_place_outside_of_the_case_is_refused():
    nothing = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(RunError, match="outside of its case"):
        AffectedVoxels(nothing, nothing, CLASSES).of(item(((0, 1), (0, 5), (0, 4))))
