"""Labels after a review, compared with a loop over single voxels."""

import numpy as np
import pytest

from rareseg.errors import RunError
from rareseg.quality.suspects import Suspect
from rareseg.review.corrections import choose_ignore_value, correct_labels, to_mask_values
from rareseg.review.final_answer import FinalAnswer
from rareseg_runner.image_records import IGNORE, Classes

CLASSES = Classes(("background", "a", "b"), (0, 7, 300), {"whole": (1, 2), "b": (2,)})


def final(verdict, box, *, region="whole", name="i"):
    item = Suspect(name, "c", None, region, "missed object", 0.5, box, 1, 0, "")
    return FinalAnswer(item, verdict, ())


def one_by_one(labels, predicted, verdicts, at_stake):
    """The rule again, voxel by voxel: the smallest place that a voxel is affected in decides."""
    affected = [
        at_stake(labels, predicted, CLASSES.regions[one.item.region], one.item.box)
        for one in verdicts
    ]
    after = labels.copy()
    changed = dict.fromkeys((one.item.id for one in verdicts), 0)
    caution = {"accept prediction": 0, "accept label": 1, "ignore region": 2}
    for place in np.ndindex(labels.shape):
        candidates = []
        for one, voxels in zip(verdicts, affected, strict=True):
            if voxels[place]:
                volume = np.prod([b - a for a, b in one.item.box])
                candidates.append((-volume, caution[one.verdict], one.item.id, one.verdict))
        if candidates:
            *_, name, verdict = max(candidates)
            new = {"accept prediction": predicted[place], "ignore region": IGNORE}
            after[place] = new.get(verdict, labels[place])
            changed[name] += int(after[place] != labels[place])
    return after, changed


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shape", [(1, 19, 21), (4, 9, 10)])
def test_every_voxel_is_what_the_rule_says(shape, seed, at_stake):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0] * 12 + [1, 2, IGNORE], shape).astype(np.uint8)
    predicted = rng.choice([0] * 12 + [1, 2], shape).astype(np.uint8)
    verdicts = []
    for number in range(6):
        low = [int(rng.integers(0, side)) for side in shape]
        box = tuple((a, int(rng.integers(a, n)) + 1) for a, n in zip(low, shape, strict=True))
        verdict = rng.choice(["accept prediction", "accept label", "ignore region"])
        region = str(rng.choice(["whole", "b"]))
        verdicts.append(final(str(verdict), box, region=region, name=f"i{number}"))
    expected, changed = one_by_one(labels, predicted, verdicts, at_stake)
    found = correct_labels(labels, predicted, verdicts, CLASSES)
    assert np.array_equal(found.labels, expected)
    assert found.changed == changed
    again = correct_labels(labels, predicted, verdicts[::-1], CLASSES)
    assert np.array_equal(again.labels, expected)  # in whatever order they were said


def test_what_was_given_is_not_changed():
    labels, predicted = np.zeros((1, 4, 4), np.uint8), np.ones((1, 4, 4), np.uint8)
    correct_labels(
        labels, predicted, [final("accept prediction", ((0, 1), (0, 4), (0, 4)))], CLASSES
    )
    assert not labels.any()


def test_a_place_outside_of_the_case_is_refused():
    nothing = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(RunError, match="outside of its case"):
        correct_labels(
            nothing, nothing, [final("ignore region", ((0, 1), (0, 5), (0, 4)))], CLASSES
        )


def test_mask_values_stay_where_nothing_changed():
    before = np.array([[[0, 1, 2, IGNORE]]], np.uint8)
    after = np.array([[[2, 1, IGNORE, IGNORE]]], np.uint8)
    original = np.array([[[0, 7, 300, 9]]], np.int32)
    values = to_mask_values(original, before, after, CLASSES, 255)
    assert values.tolist() == [[[300, 7, 255, 9]]]


@pytest.mark.parametrize(
    ("values", "declared", "chosen"),
    [((0, 1), None, 255), ((0, 255), None, 254), ((0, 1), 9, 9), ((0, 254, 255), None, 253)],
)
def test_the_ignored_value_is_no_class(values, declared, chosen):
    names = tuple(map(str, values))
    assert choose_ignore_value(Classes(names, values, {}, declared)) == chosen
