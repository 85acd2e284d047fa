"""What is cut is what lies there."""

from __future__ import annotations

import numpy as np
import pytest

from rareseg.data.store.store import Store
from rareseg.sampling.patches.cutting import cut
from rareseg.sampling.patches.places import Places, draw_places
from rareseg.sampling.pools.pool import pool_everything
from rareseg.sampling.pools.windows import BORDERS, Border, as_zyx
from rareseg.sampling.strategies.strategy import Mixture, Share
from rareseg_runner.image_records import IGNORE


def everything(store: Store) -> Mixture:
    return Mixture((Share(pool_everything(store), 1.0),))


def slow_cut(
    store: Store, places: Places, patch_size: tuple[int, ...], border: Border
) -> tuple[np.ndarray, np.ndarray]:
    """Pad the whole normalised case with numpy, and take the window out of it."""
    patch = as_zyx(patch_size)
    images, labels = [], []
    for case, corner in zip(places.case, places.corner, strict=True):
        values, label = store.values(case), store.label(case)
        margins = [(n, n) for n in patch]
        table = store.cases
        around = table.background[case] * table.scale[case] + table.offset[case]
        padded = [
            np.pad(channel, margins, mode="reflect")
            if border == "reflect"
            else np.pad(channel, margins, constant_values=fill)
            for channel, fill in zip(values, around, strict=True)
        ]
        window = tuple(slice(c + n, c + 2 * n) for c, n in zip(corner, patch, strict=True))
        images.append(np.stack([channel[window] for channel in padded]))
        labels.append(np.pad(label, margins, constant_values=IGNORE)[window])
    size = tuple(patch_size)
    shape = (len(places), store.channels, *size)
    return np.stack(images).reshape(shape), np.stack(labels).reshape(len(places), *size)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("factor", [1, 6])
def test_cuts_agree_with_padded_arrays_bit_for_bit(
    scene: tuple[Store, tuple[int, ...]], border: Border, factor: int
) -> None:
    """Also where the patch is more than twice as large as the image."""
    store, patch_size = scene
    patch_size = tuple(factor * n for n in patch_size)
    places = draw_places(
        store,
        everything(store),
        np.zeros(20, np.int16),
        np.random.default_rng(2),
        patch_size=patch_size,
        border=border,
    )
    patches = cut(store, places, patch_size=patch_size, border=border)
    images, labels = patches.images, patches.labels
    assert (images.dtype, labels.dtype) == (np.float32, np.uint8)
    expected_images, expected_labels = slow_cut(store, places, patch_size, border)
    np.testing.assert_array_equal(images, expected_images)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_array_equal(patches.voxels, np.bincount(labels.reshape(-1), minlength=256))
    positive = ((labels != 0) & (labels != IGNORE)).reshape(len(labels), -1).any(axis=1)
    assert patches.with_foreground == positive.sum()


@pytest.mark.parametrize("border", ["reflect", "background"])
def test_centres_are_in_the_middle_of_their_patch(
    scene: tuple[Store, tuple[int, ...]], border: Border
) -> None:
    """Every voxel of every case, the corners included, is a centre that can be drawn."""
    store, patch_size = scene
    half = np.array(as_zyx(patch_size)) // 2
    places = draw_places(
        store,
        everything(store),
        np.zeros(60_000, np.int16),
        np.random.default_rng(3),
        patch_size=patch_size,
        border=border,
    )
    centres = set(zip(places.case, *(places.corner + half).T, strict=True))
    assert len(centres) == pool_everything(store).size
    assert (0, 0, 0, 0) in centres


def test_drawing_is_pure(flat_store: Store) -> None:
    first, second = (
        draw_places(
            flat_store,
            everything(flat_store),
            np.zeros(50, np.int16),
            np.random.default_rng(5),
            patch_size=(4, 4),
            border="shift",
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.case, second.case)
    np.testing.assert_array_equal(first.corner, second.corner)


def test_an_empty_plan_cuts_nothing(flat_store: Store) -> None:
    places = Places(np.zeros(0, np.int32), np.zeros((0, 3), np.int32), np.zeros(0, np.int16))
    patches = cut(flat_store, places, patch_size=(4, 5), border="reflect")
    assert patches.images.shape == (0, 2, 4, 5)
    assert patches.labels.shape == (0, 4, 5)
    assert (patches.voxels.sum(), patches.with_foreground) == (0, 0)
