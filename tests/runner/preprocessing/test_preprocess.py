"""From raw intensities to the network's values, and from one grid to another."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.errors import DataError, UsageError
from rareseg_runner.image_records import IGNORE, Geometry, Image
from rareseg_runner.preprocessing.preprocess import (
    Preprocessing,
    class_indices,
    network_input,
    prepare,
)
from rareseg_runner.preprocessing.resampling import resample, resample_labels

RNG = np.random.default_rng(0)
RAW = {
    "uint8": RNG.integers(0, 256, (2, 1, 20, 30)).astype(np.uint8),
    "bool": RNG.random((2, 1, 20, 30)) < 0.5,
    "int16": RNG.integers(-1024, 3000, (2, 5, 20, 30)).astype(np.int16),
    "uint16": RNG.integers(0, 65536, (2, 1, 20, 30)).astype(np.uint16),
    "int32": RNG.integers(-(2**20), 2**20, (2, 5, 20, 30)).astype(np.int32),
    "float32": RNG.normal(-3, 40, (2, 5, 20, 30)).astype(np.float32),
    "float64": RNG.normal(1e-7, 1e-8, (2, 5, 20, 30)),
}


def image(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Image:
    return Image(array, Geometry(spacing=spacing, dimension=2 if array.shape[1] == 1 else 3))


@pytest.mark.parametrize("kind", RAW)
def test_zscore_is_that_of_each_case_and_channel(kind: str) -> None:
    raw = RAW[kind].astype(np.float64)
    mean, spread = raw.mean((1, 2, 3), keepdims=True), raw.std((1, 2, 3), keepdims=True)
    values = network_input(image(RAW[kind]), Preprocessing())
    assert values.dtype == np.float32
    error = np.abs(values - (raw - mean) / spread).max(axis=(1, 2, 3))
    width = (raw.max((1, 2, 3)) - raw.min((1, 2, 3))) / spread[:, 0, 0, 0]
    assert (error < width / 65_000).all()


@pytest.mark.parametrize(
    ("kind", "stored", "exact"),
    [
        ("uint8", np.uint8, True),
        ("bool", np.uint8, True),
        ("int16", np.int16, True),
        ("uint16", np.int16, True),
        ("int32", np.int16, False),
        ("float32", np.int16, False),
    ],
)
def test_integers_that_fit_are_kept_exactly(kind: str, stored: type, *, exact: bool) -> None:
    prepared = prepare(image(RAW[kind]), Preprocessing(method="none"))
    assert prepared.array.dtype == stored
    np.testing.assert_array_equal(
        prepared.values(), network_input(image(RAW[kind]), Preprocessing(method="none"))
    )
    assert (prepared.values() == RAW[kind].astype(np.float32)).all() == exact


@settings(max_examples=50, deadline=None)
@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), seed=st.integers(0, 99))
def test_int16_steps_are_finer_than_a_65000th_of_the_range(
    low: float, width: float, seed: int
) -> None:
    raw = low + width * np.random.default_rng(seed).random((1, 1, 8, 9))
    prepared = prepare(image(raw), Preprocessing(method="none"))
    step, origin = prepared.scale.astype(np.float64), prepared.offset.astype(np.float64)
    error = np.abs(prepared.array * step + origin - raw).max()
    # What is beyond the step is float32's own rounding of an offset far from zero.
    assert error < (raw.max() - raw.min()) / 65_000 + 1e-7 * np.abs(raw).max()


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_constant_image_becomes_zero(value: int, kind: type) -> None:
    values = network_input(image(np.full((1, 1, 6, 6), value, kind)), Preprocessing())
    assert np.abs(values).max() == 0


def test_clipped_and_standardised_by_the_data_set() -> None:
    settings = Preprocessing(
        method="dataset", clip=((-100.0, 300.0), (0.0, 50.0)), mean=(40.0, 20.0), std=(80.0, 5.0)
    )
    values = network_input(image(RAW["int16"]), settings)
    for channel, low, high, mean, std in ((0, -100, 300, 40, 80), (1, 0, 50, 20, 5)):
        expected = (np.clip(RAW["int16"][channel], low, high) - mean) / std
        np.testing.assert_allclose(values[channel], expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "top"), [("uint8", 255), ("uint16", 65535), ("bool", 1)])
def test_the_number_type_s_range_becomes_0_to_1(kind: str, top: int) -> None:
    values = network_input(image(RAW[kind]), Preprocessing(method="range"))
    np.testing.assert_allclose(values, RAW[kind] / (255 if kind == "bool" else top), atol=1e-6)


def test_what_cannot_be_prepared() -> None:
    broken = RAW["float32"].copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        prepare(image(broken), Preprocessing())
    with pytest.raises(DataError, match=r"2 channel\(s\).* clip for 1"):
        prepare(image(RAW["int16"]), Preprocessing(clip=((0.0, 1.0),)))
    with pytest.raises(UsageError, match="needs a mean and a std"):
        Preprocessing(method="dataset")
    with pytest.raises(UsageError, match="'z-score' is unknown"):
        Preprocessing(method="z-score")  # type: ignore[arg-type]


def test_settings_survive_json() -> None:
    settings = Preprocessing(3, (1.0, 0.5, 0.5), "dataset", ((0.0, 1.0),), (0.5,), (0.1,))
    assert Preprocessing.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_the_background_is_the_frame_s_median() -> None:
    array = np.full((1, 2, 9, 9), 50, np.int16)
    array[:, :, 0], array[:, :, :, 0], array[:, :, 3:6, 3:6] = -1000, -1000, 900
    array[:, :, -1] = -1000
    assert prepare(image(array), Preprocessing()).background == [-1000]


def test_photographs_at_half_resolution() -> None:
    values = network_input(
        image(RAW["uint8"]), Preprocessing(target_spacing=(1, 2, 2), method="none")
    )
    assert values.shape == (2, 1, 10, 15)
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(RAW["uint8"][:, 0]).float()[None],
        size=(10, 15),
        mode="bilinear",
        antialias=True,
    )[0].numpy()
    np.testing.assert_allclose(values[:, 0], reference, atol=255 / 65_000)


@pytest.mark.parametrize("shape", [(17, 23), (40, 61), (20, 9), (1, 1), (33, 30)])
def test_planes_are_resampled_as_torch_does(shape: tuple[int, int]) -> None:
    array = RAW["float32"]
    ours = resample(array, (5, *shape))
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(array), size=shape, mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(ours, reference.numpy(), rtol=1e-4, atol=1e-3)


def test_volumes_are_enlarged_as_torch_does() -> None:
    array = RAW["float32"]
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(array)[None], size=(9, 31, 47), mode="trilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(
        resample(array, (9, 31, 47)), reference.numpy(), rtol=1e-4, atol=1e-3
    )


def test_equal_shapes_are_left_alone() -> None:
    assert resample(RAW["float32"], (5, 20, 30)) is RAW["float32"]


def test_labels_keep_values_and_thin_lines() -> None:
    labels = np.zeros((1, 16, 16), np.uint8)
    labels[0, :, 5] = 1  # a crack of one pixel
    labels[0, 8:, 8:] = 3
    labels[0, :4, 12:] = IGNORE
    half = resample_labels(labels, (1, 8, 8))
    expected = np.zeros((1, 8, 8), np.uint8)
    expected[0, :, 2] = 1
    expected[0, 4:, 4:] = 3
    expected[0, :2, 6:] = IGNORE
    np.testing.assert_array_equal(half, expected)
    double = resample_labels(labels, (1, 32, 32))
    np.testing.assert_array_equal(np.unique(double), [0, 1, 3, IGNORE])
    np.testing.assert_array_equal(double[0, 20, 10:12], [1, 1])


def test_mask_values_become_class_indices() -> None:
    mask = np.array([[[0, 128, 255, 9]]], np.int32)
    np.testing.assert_array_equal(class_indices(mask, (0, 255, 128), 9), [[[0, 2, 1, IGNORE]]])
    with pytest.raises(DataError, match=r"value\(s\) 9 .* allow 0, 128, 255"):
        class_indices(mask, (0, 255, 128), None)
