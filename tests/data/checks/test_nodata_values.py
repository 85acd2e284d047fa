"""Numbers that mean that nothing was measured are asked about, and left out where that is said."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
import tifffile

from rareseg.cli.options.reading_options import ReadingOptions
from rareseg.data.case_files import read_case_image
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.checks.trained_images import facts_of_images
from rareseg.data.dataset import open_dataset
from rareseg.data.identity import content_hash
from rareseg.data.records import MaskRules
from rareseg.data.store.build import build_store
from rareseg.errors import UsageError
from rareseg_runner.image_records import IGNORE
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.intensity_limits import usual_fill

RNG = np.random.default_rng(3)


def elevation(dtype=np.float32, shape=(20, 24)):
    return RNG.uniform(200, 1200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (-9999, "float32"),
        (-9999, "int16"),
        (-32768, "int16"),
        (-32768, "float32"),
        (1e20, "float32"),
        (-3.4028234663852886e38, "float32"),
        (9.969209968386869e36, "float64"),
    ],
)
def test_numbers_that_programs_write_are_found(number, dtype):
    values = elevation(dtype)
    assert usual_fill(values) is None
    values[3, 4] = number
    assert usual_fill(values) == float(np.asarray(number).astype(dtype))


def test_a_number_among_others_is_an_intensity():
    assert usual_fill(np.arange(-32768, 32767, 3, dtype=np.int16)) is None
    assert usual_fill(np.linspace(-9999, 9999, 500)) is None
    assert usual_fill(np.full((4, 4), -9999.0)) is None
    assert usual_fill(np.array([0, 9999], np.uint16)) is None
    assert usual_fill(np.array([], np.float32)) is None
    assert usual_fill(np.array([np.nan, np.inf, 1.0])) is None


@pytest.fixture
def folder(tmp_path):
    """Five images of elevations, of which two hold -9999 in a strip."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k in range(5):
        values, mask = elevation(), np.zeros((20, 24), np.uint8)
        mask[10:14, 5:9] = 1
        if k < 2:
            values[:3] = -9999
        tifffile.imwrite(tmp_path / "images" / f"c{k}.tif", values)
        PIL.Image.fromarray(mask).save(tmp_path / "masks" / f"c{k}.png")
    return tmp_path


def questions(folder, value=None):
    dataset = open_dataset(folder, rules=MaskRules(nodata_value=value))
    found = inspect_dataset(dataset, jobs=1)
    assert found.problems == ()
    return [question.text for question in found.questions], found


def test_a_fill_is_asked_about_until_it_is_answered(folder):
    (text,), found = questions(folder)
    assert "2 images hold the number -9999.0, such as" in text
    assert "--nodata-value -9999.0" in text
    assert found.questions[0].option == "--nodata-value"
    for answer in ("-9999.0", "none"):
        assert questions(folder, answer)[0] == []


def test_named_voxels_are_filled_and_count_nowhere(folder):
    rules = MaskRules(nodata_value="-9999.0")
    dataset = open_dataset(folder, rules=rules)
    image = read_case_image(dataset.cases[0])
    assert image.array.min() > 0
    assert image.nodata.sum() == 3 * 24
    assert read_case_image(dataset.cases[4]).nodata is None
    store = build_store(dataset, folder / "store", jobs=1)
    ignored = [(store.label(k) == IGNORE).sum() for k in range(5)]
    assert ignored == [72, 72, 0, 0, 0]
    assert content_hash(dataset) != content_hash(open_dataset(folder))


def test_nan_can_be_named(folder):
    values = elevation()
    values[5:7, 5:9] = np.nan
    tifffile.imwrite(folder / "images" / "c4.tif", values)
    found = inspect_dataset(open_dataset(folder), jobs=1)
    assert ["--nodata-value nan" in str(problem) for problem in found.problems] == [True]
    dataset = open_dataset(folder, rules=MaskRules(nodata_value="nan"))
    assert inspect_dataset(dataset, jobs=1).problems == ()
    assert read_case_image(dataset.cases[4]).nodata.sum() == 8


def test_the_option_is_a_number_or_the_word_none():
    assert ReadingOptions(nodata_value="-9999").rules().nodata_value == "-9999.0"
    assert ReadingOptions(nodata_value=" NaN").rules().nodata_value == "nan"
    assert ReadingOptions(nodata_value="None").rules().nodata_value == "none"
    assert ReadingOptions().rules().to_dict() == {}
    rules = ReadingOptions(nodata_value="1e20").rules()
    assert MaskRules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules
    with pytest.raises(UsageError, match=r"--nodata-value is 'low'; allowed are a number"):
        ReadingOptions(nodata_value="low").rules()


def test_a_model_keeps_what_was_named(folder):
    found = questions(folder, "-9999.0")[1]
    facts = facts_of_images(found, "-9999.0")
    assert ImageFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    earlier = {k: v for k, v in facts.to_dict().items() if k != "nodata_value"}
    assert ImageFacts.from_dict(earlier).nodata_value is None
