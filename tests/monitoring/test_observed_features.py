"""What is observed of an image and of what is found in it, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.decision.operating_point import default_point
from rareseg.monitoring.observed_features import (
    ObservedFeature,
    by_group,
    disagreement,
    features_of,
    observe,
    observe_image,
)
from rareseg_runner.decision.detection import Detection
from rareseg_runner.image_records import Geometry, Image


def photograph(array: np.ndarray) -> Image:
    return Image(array[np.newaxis, np.newaxis], Geometry())


def test_an_image_is_observed_by_hand():
    array = np.array([[0, 0, 0, 0], [0, 0, 8, 0], [0, 0, 0, 0]], np.uint8)
    found = {feature.name: value for feature, value in observe_image(photograph(array)).items()}
    spread = np.sqrt(64 / 12 - (8 / 12) ** 2)
    assert found["size"] == 12
    assert found["mean"] == pytest.approx(8 / 12)
    assert found["spread"] == pytest.approx(spread)
    assert found["dark end"] == 0.0
    # Laplacians of the two inner pixels: 8 beside the bright one, 32 at it.
    assert found["sharpness"] == pytest.approx(20 / spread)


def test_channels_are_observed_each_and_named():
    image = Image(np.stack([np.full((1, 4, 4), k, np.float32) for k in (1, 5)]), Geometry())
    found = observe_image(image)
    assert found[ObservedFeature("", "mean of channel 2")] == 5.0
    assert found[ObservedFeature("", "sharpness of channel 1")] == 0.0
    assert set(found) <= set(features_of(["a"], 2, tells_presence=False))


def test_values_that_are_not_finite_count_nowhere():
    array = np.ones((5, 5), np.float32)
    array[2, 2], array[0, 0] = np.nan, np.inf
    assert all(np.isfinite(value) for value in observe_image(photograph(array)).values())
    nothing = np.full((5, 5), np.nan, np.float32)
    assert all(np.isfinite(value) for value in observe_image(photograph(nothing)).values())


def detection(scores: np.ndarray, mask: np.ndarray, presence: float | None = None) -> Detection:
    return Detection(
        image=photograph(np.zeros(scores.shape, np.uint8)),
        scores={"speck": scores.astype(np.float32)},
        masks={"speck": mask},
        label_map=mask.astype(np.uint8),
        image_scores={"speck": float(scores.max()) if presence is None else presence},
        presence=None if presence is None else {"speck": presence},
    )


def test_a_region_is_observed_by_hand():
    scores = np.array([[0.9, 0.1, 0.0, 0.8], [0.7, 0.1, 0.0, 0.0]])
    values, doubt = observe(detection(scores, scores > 0.5), {"speck": default_point("speck")})
    own = {f.name: value for f, value in values.items() if f.region}
    assert own == pytest.approx(
        {"image score": 0.9, "mean score": 2.6 / 8, "area": 3 / 8, "objects": 2, "flagged": 1}
    )
    assert doubt["speck"] == pytest.approx(1 - 2 * 2.4 / (2.6 + 3))


def test_where_nothing_is_on_doubt_grows_towards_the_cut():
    points = {"speck": default_point("speck")}
    doubts = []
    for top in (0.0, 0.25, 0.49):
        scores = np.array([[top, 0.0], [0.0, 0.0]])
        _, doubt = observe(detection(scores, scores > 0.5), points)
        doubts.append(doubt["speck"])
    assert doubts == pytest.approx([0.0, 0.5, 0.98], abs=1e-6)


def test_the_top_score_is_a_feature_where_the_image_score_is_another():
    scores = np.array([[0.9, 0.1], [0.0, 0.0]])
    points = {"speck": default_point("speck")}
    values, _ = observe(detection(scores, scores > 0.5, presence=0.3), points)
    assert values[ObservedFeature("speck", "top score")] == pytest.approx(0.9)
    assert ObservedFeature("speck", "top score") in features_of(["speck"], 1, tells_presence=True)
    assert ObservedFeature("speck", "top score") not in features_of(
        ["speck"], 1, tells_presence=False
    )


def test_a_group_is_the_mean_of_its_images_and_images_without_one_are_groups(observed, features):
    images = [
        observed(1, "a", mean=1.0),
        observed(2, None, mean=7.0),
        observed(3, "a", mean=4.0),
        observed(4, None, mean=9.0),
    ]
    names, rows = by_group(images, features)
    assert names == ["group a", "image digest-0002", "image digest-0004"]
    assert rows[:, 1].tolist() == [2.5, 7.0, 9.0]
    assert by_group([], features)[1].shape == (0, len(features))


def test_networks_that_disagree_are_told_by_their_masks():
    scores = np.zeros((2, 4))
    masks = [np.zeros((2, 4), bool) for _ in range(3)]
    masks[0][0, :2] = masks[1][0, 1:3] = True  # dice ½; the third finds nothing, dice 0
    found = [detection(scores, mask) for mask in masks]
    assert disagreement(found)["speck"] == pytest.approx(1 - 0.5 / 3)
    assert disagreement(found[2:] * 2)["speck"] == 0.0
    assert disagreement(found[:1])["speck"] == 0.0
