"""The built-in data set: repeatable, as rare as it says, and turned by its knobs."""

import csv
from collections import Counter
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from rareseg.data.builtin.specks import SpecksSettings, draw_plate, photograph, write_specks
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.errors import UsageError

SMALL = SpecksSettings(images=12, size=96, seed=3)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def masks(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: np.asarray(PIL.Image.open(folder / row["mask"])) for row in rows}


def test_the_same_settings_write_the_same_bytes(tmp_path):
    first = contents(write_specks(tmp_path / "a", SMALL))
    assert contents(write_specks(tmp_path / "b", SMALL)) == first
    other = contents(write_specks(tmp_path / "c", replace(SMALL, seed=4)))
    assert other.keys() == first.keys()
    images = [path for path in first if path.parent.name == "images"]
    assert all(other[path] != first[path] for path in images)


def test_one_plate_does_not_depend_on_the_others():
    alone = draw_plate(SMALL, 5, empty=False)
    again = draw_plate(replace(SMALL, images=500), 5, empty=False)
    assert np.array_equal(alone.surface, again.surface)
    assert np.array_equal(alone.mask, again.mask)


def test_it_is_a_data_set_without_problems(tmp_path):
    fingerprint = inspect_dataset(open_dataset(write_specks(tmp_path / "a", SMALL)))
    assert fingerprint.problems == ()
    assert len(fingerprint.cases) == 12
    assert {fact.shape for fact in fingerprint.cases} == {(1, 96, 96)}
    assert fingerprint.classes.values == (0, 255)
    assert len({fact.group for fact in fingerprint.cases}) == 12


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_empty_images_is_exact(share, tmp_path):
    found = masks(write_specks(tmp_path / "a", replace(SMALL, empty_share=share)))
    assert sum(not mask.any() for mask in found.values()) == round(12 * share)


def test_positives_hold_one_to_two_per_cent():
    shares = [draw_plate(SpecksSettings(), n, empty=False).mask.mean() for n in range(16)]
    assert 0.01 < np.mean(shares) < 0.02
    assert min(shares) > 0.004
    assert max(shares) < 0.03


def test_the_share_of_foreground_is_a_knob():
    def mean_share(wanted: float) -> float:
        settings = SpecksSettings(size=128, foreground_share=wanted, distractors=0)
        return np.mean([draw_plate(settings, n, empty=False).mask.mean() for n in range(12)])

    assert mean_share(0.05) == pytest.approx(0.05, rel=0.35)
    assert mean_share(0.01) < 0.6 * mean_share(0.05)


def test_specks_stand_out_by_the_contrast():
    def height(contrast: float) -> float:
        plate = draw_plate(replace(SMALL, contrast=contrast), 0, empty=False)
        flat = draw_plate(replace(SMALL, contrast=0.0), 0, empty=False)
        assert np.array_equal(plate.mask, flat.mask)
        return float((plate.surface - flat.surface)[plate.mask == 1].mean())

    assert 0.6 * 4 < height(4.0) < 1.2 * 4
    assert height(8.0) == pytest.approx(2 * height(4.0), rel=1e-5)


def test_missed_specks_are_on_the_plate_and_not_in_the_mask():
    whole = draw_plate(SMALL, 1, empty=False)
    missed = draw_plate(replace(SMALL, missed_share=1.0), 1, empty=False)
    assert np.array_equal(missed.surface, whole.surface)
    assert whole.mask.any()
    assert not missed.mask.any()


def test_spurious_marks_are_in_the_mask_of_an_empty_plate():
    clean = draw_plate(SMALL, 1, empty=True)
    noisy = draw_plate(replace(SMALL, spurious_share=1.0), 1, empty=True)
    assert np.array_equal(noisy.surface, clean.surface)
    assert not clean.mask.any()
    assert noisy.mask.any()


def test_pictures_of_one_plate_are_a_group_and_differ_in_exposure(tmp_path):
    settings = replace(SMALL, pictures_per_plate=4)
    folder = write_specks(tmp_path / "a", settings)
    cases = open_dataset(folder).cases
    assert Counter(case.group for case in cases) == {f"plate{n:04d}": 4 for n in range(3)}
    found = masks(folder)
    for plate in range(3):
        views = [f"plate{plate:04d}_{n}" for n in range(4)]
        assert all(np.array_equal(found[views[0]], found[view]) for view in views)
        pictures = [np.asarray(PIL.Image.open(folder / "images" / f"{v}.png")) for v in views]
        assert len({picture.tobytes() for picture in pictures}) == 4
        assert np.corrcoef(pictures[0].ravel(), pictures[1].ravel())[0, 1] > 0.8


def test_a_photograph_keeps_its_surface_recognisable():
    plate = draw_plate(SMALL, 0, empty=False)
    picture = photograph(plate.surface, np.random.default_rng(0))
    assert picture.dtype == np.uint8
    assert np.corrcoef(picture.ravel(), plate.surface.ravel())[0, 1] > 0.8


def test_an_existing_folder_is_replaced_as_a_whole(tmp_path):
    write_specks(tmp_path / "a", replace(SMALL, images=20))
    write_specks(tmp_path / "a", SMALL)
    assert len(list((tmp_path / "a" / "images").iterdir())) == 12


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("images", 0),
        ("size", 32),
        ("pictures_per_plate", 0),
        ("foreground_share", -0.1),
        ("foreground_share", 0.3),
        ("empty_share", 1.5),
        ("missed_share", 2.0),
        ("spurious_share", -1.0),
    ],
)
def test_an_impossible_setting_is_named_with_its_value(setting, value):
    with pytest.raises(UsageError, match=rf"specks: {setting} is {value:g}"):
        SpecksSettings(**{setting: value})


def test_a_folder_may_be_named_in_plain_text(tmp_path):
    folder = write_specks(str(tmp_path / "specks"), SpecksSettings(images=2, size=64))
    assert folder == tmp_path / "specks"
    assert any(folder.iterdir())
