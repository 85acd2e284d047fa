"""Thumbnails find the same object at another exposure, and nothing else."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from rareseg.data import near_duplicates
from rareseg.data.dataset import open_dataset
from rareseg.data.formats import read_image
from rareseg.data.near_duplicates import find_near_duplicates, thumbnail, thumbnail_hash

DATA = os.environ.get("RARESEG_DATA")
RNG = np.random.default_rng(3)


def scenes(count):
    return [RNG.normal(100, 20, (1, 1, 60, 80)) for _ in range(count)]


def found(images, groups=None):
    small = np.stack([thumbnail(image) for image in images])
    pairs, total = find_near_duplicates(small, groups or [None] * len(images))
    assert total == len(pairs)
    return {(i, j) for i, j, _ in pairs}


@pytest.mark.parametrize("count", [4, 40])
def test_exposure_and_falling_light_do_not_hide_a_copy(count):
    images = scenes(count)
    ramp = np.linspace(0, 60, 80)
    assert found([*images, images[1] * 0.5 + 20 + ramp]) == {(1, count)}


def test_what_all_images_share_does_not_make_them_alike():
    camera = RNG.normal(0, 200, (1, 1, 60, 80))
    images = [camera + scene for scene in scenes(40)]
    assert found([*images, images[3] * 1.1]) == {(3, 40)}


def test_one_group_is_no_leak_but_two_groups_and_none_are():
    image = scenes(1)[0]
    images, groups = [image] * 4, ["p", "p", "q", None]
    assert found(images, groups) == set(itertools.combinations(range(4), 2)) - {(0, 1)}


def test_images_without_structure_match_nothing():
    flat = [np.full((1, 1, 30, 30), value, np.uint8) for value in (0, 7, 7, 255)]
    assert found([*flat, *scenes(30)]) == set()
    assert found([flat[0]]) == set()


def test_only_the_most_alike_pairs_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 3)
    monkeypatch.setattr(near_duplicates, "_BLOCK", 2)
    small = np.repeat(thumbnail(scenes(1)[0])[None], 6, 0)
    pairs, total = find_near_duplicates(small, [None] * 6)
    assert (len(pairs), total) == (3, 15)


def test_thumbnails_survive_what_is_not_finite():
    image = scenes(1)[0]
    image[0, 0, :30, :40] = np.inf
    image[0, 0, 30:, 40:] = np.nan
    assert np.isfinite(thumbnail(image)).all()


def test_the_hash_is_of_the_picture_not_of_its_exposure():
    image = scenes(1)[0]
    assert thumbnail_hash(thumbnail(image)) == thumbnail_hash(thumbnail(image * 2 + 1))
    assert len(thumbnail_hash(thumbnail(image))) == 36


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data")
def test_exposures_of_one_magnetic_tile_are_found():
    """Precision counts pairs across groups as wrong, though most of those show one tile too."""
    cases = open_dataset(Path(DATA) / "magnetic-tile").cases
    small = np.stack([thumbnail(read_image(case.images).array) for case in cases])
    groups = np.array([case.group for case in cases])
    same = int(np.triu(groups[:, None] == groups, 1).sum())
    _, across = find_near_duplicates(small, groups.tolist())
    _, total = find_near_duplicates(small, [None] * len(cases))
    assert (total - across) / total > 0.95
    assert (total - across) / same > 0.70
