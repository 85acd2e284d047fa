"""The second built-in data set: nested, as frequent as stated, and turned by its knobs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from rareseg.data.builtin.lumps import (
    LABELS,
    REGIONS,
    SHARES,
    LumpsSettings,
    draw_lump,
    write_lumps,
)
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.errors import UsageError

SMALL = LumpsSettings(images=12, size=96, pictures_per_patient=2, seed=3)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_lumps(tmp_path_factory.mktemp("lumps") / "data", SMALL)


def masks(settings, count):
    return [draw_lump(settings, patient, 0, empty=False)[1] for patient in range(count)]


def test_it_is_a_data_set_with_regions_and_patients(written):
    fingerprint = inspect_dataset(open_dataset(written, group_from=r"(p\d+)_"))
    assert fingerprint.problems == ()
    assert len(fingerprint.cases) == 12
    assert len({case.group for case in fingerprint.cases}) == 6
    assert {case.channels for case in fingerprint.cases} == {2}
    assert list(fingerprint.classes.regions) == list(REGIONS)
    assert fingerprint.classes.values == tuple(LABELS.values())


def test_the_same_settings_write_the_same_bytes(written, tmp_path):
    again = write_lumps(tmp_path / "again", SMALL)
    files = [path.relative_to(again) for path in again.rglob("*") if path.is_file()]
    assert len(files) == 12 * 3 + 1
    assert all((again / path).read_bytes() == (written / path).read_bytes() for path in files)
    other, _ = draw_lump(replace(SMALL, seed=4), 0, 0, empty=False)
    assert not np.array_equal(other, draw_lump(SMALL, 0, 0, empty=False)[0])


@pytest.mark.parametrize("rarity", [0.5, 1.0, 2.0])
def test_the_shares_of_pixels_are_the_stated_ones(rarity):
    """Over pictures of which none is empty, each holds as much more."""
    settings = LumpsSettings(size=160, rarity=rarity, empty_share=0.3, scars=0, vessels=0)
    counts = sum(np.bincount(mask.ravel(), minlength=5) for mask in masks(settings, 150))
    found = counts / counts.sum() * (1 - settings.empty_share)
    for value, share in SHARES.items():
        assert found[value] == pytest.approx(share * rarity, rel=0.15)


def test_every_lump_has_all_parts_within_each_other():
    for mask in masks(LumpsSettings(size=192), 30):
        assert set(np.unique(mask)) == {0, 1, 2, 3, 4}
        inner, outer = np.isin(mask, REGIONS["core"]), mask > 0
        shell = PIL.Image.fromarray(inner).getbbox()
        whole = PIL.Image.fromarray(outer).getbbox()
        assert whole[0] <= shell[0] <= shell[2] <= whole[2]
        assert inner.sum() < outer.sum()


def test_the_parts_differ_in_the_channels_that_they_are_said_to():
    bright = LumpsSettings(size=192, contrast=4.0, scars=0, vessels=0)
    flair, contrast = [], []
    for patient in range(10):
        image, mask = draw_lump(bright, patient, 0, empty=False)
        flair.append(image[0][mask == 2].mean() - image[0][mask == 0].mean())
        contrast.append(image[1][mask == 4].mean() - image[1][mask == 2].mean())
    assert min(flair) > 20
    assert min(contrast) > 20


def test_empty_pictures_hold_nothing_but_what_misleads():
    settings = LumpsSettings(size=128, scars=3, vessels=3)
    image, mask = draw_lump(settings, 0, 0, empty=True)
    assert not mask.any()
    plain, _ = draw_lump(replace(settings, scars=0, vessels=0), 0, 0, empty=True)
    assert not np.array_equal(image, plain)


@pytest.mark.parametrize(
    ("knob", "value"),
    [("empty_share", 1.0), ("rarity", 0.0), ("size", 10), ("images", 0), ("scars", -1.0)],
)
def test_impossible_knobs_are_refused(knob, value):
    with pytest.raises(UsageError, match=f"lumps: {knob}"):
        LumpsSettings(**{knob: value})


def test_more_than_fits_is_refused():
    with pytest.raises(UsageError, match="no room"):
        LumpsSettings(rarity=4.0, empty_share=0.9)


def test_a_folder_may_be_named_in_plain_text(tmp_path):
    folder = write_lumps(str(tmp_path / "lumps"), LumpsSettings(images=2, size=64))
    assert folder == tmp_path / "lumps"
    assert any(folder.iterdir())
