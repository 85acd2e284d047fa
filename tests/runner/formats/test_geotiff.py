"""Pixels without data, and the tags by which a GeoTIFF lies on the earth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from rareseg.data.dataset import open_dataset
from rareseg.data.store.build import build_store
from rareseg.data.store.case_labels import read_labels
from rareseg_runner.formats import read_image, read_mask, write_mask, write_probabilities
from rareseg_runner.formats.geotiff import fill_nodata, map_frame
from rareseg_runner.image_records import IGNORE, Classes, Geometry

RNG = np.random.default_rng(5)
PLACE = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 5.2e6, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True),
    (34737, "s", 0, "WGS 84 / UTM zone 33N|", True),
]


def write(path, array, nodata=None, place=PLACE):
    tags = [*place, *([(42113, "s", 0, nodata, True)] if nodata is not None else [])]
    kind = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(path, array, photometric=kind, metadata=None, extratags=tags)


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        ("float32", np.nan, "nan"),
        ("float32", np.nan, None),
        ("float32", -9999, "-9999"),
        ("float32", -3.4028234663852886e38, "-3.40282346638529e+38"),
        ("int16", -9999, "-9999.0"),
        ("uint16", 65535, "65535"),
        ("uint8", 0, "0"),
    ],
)
def test_what_holds_nothing_is_filled_and_noted(tmp_path, dtype, value, said):
    array = RNG.integers(1, 200, (9, 11, 3)).astype(dtype)
    array[:4] = value
    write(tmp_path / "a.tif", array, said)
    image = read_image([tmp_path / "a.tif"])
    assert image.array.dtype == dtype
    expected = np.zeros((1, 9, 11), bool)
    expected[:, :4] = True
    np.testing.assert_array_equal(image.nodata, expected)
    for channel, own in zip(image.array, np.moveaxis(array, -1, 0), strict=True):
        np.testing.assert_array_equal(channel[0, 4:], own[4:])
        assert set(np.unique(channel[0, :4])) == {np.sort(own[4:], axis=None)[55 // 2]}


def test_a_dark_pixel_of_one_channel_is_no_gap_and_a_negative_one_is_filled():
    array = RNG.integers(1, 99, (2, 1, 4, 5)).astype(np.int16)
    array[0, 0, 1, 1], before = 0, array.copy()
    before[0, 0, 1, 1] = 0
    assert fill_nodata(array, 0.0, on_earth=True) is None
    np.testing.assert_array_equal(array, before)
    array[0, 0, 1, 1] = -9999
    assert fill_nodata(array, -9999.0, on_earth=True) is None
    assert array.min() >= 0


def test_nan_without_a_word_of_where_or_what_stays_a_fault():
    array = np.array([[[[np.nan, 1.0]]]], np.float32)
    assert fill_nodata(array, None, on_earth=False) is None
    assert np.isnan(array[0, 0, 0, 0])


def test_a_picture_without_any_data_is_0():
    array = np.full((1, 1, 2, 2), np.nan, np.float32)
    nothing = fill_nodata(array, np.nan, on_earth=True)
    assert nothing is not None
    assert nothing.all()
    assert not array.any()


def test_masks_keep_where_the_image_lies(tmp_path):
    write(tmp_path / "a.tif", RNG.integers(0, 9, (8, 9, 4)).astype(np.uint16), place=PLACE)
    image = read_image([tmp_path / "a.tif"])
    write_mask(tmp_path / "m.tif", image.array[0] > 4, image.geometry)
    write_probabilities(tmp_path / "p.tif", np.zeros((1, 8, 9), np.float32), image.geometry)
    for name in ("m.tif", "p.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            tags = file.pages[0].tags
            for code, _, _, value, _ in PLACE:
                assert tags[code].value == value
    np.testing.assert_array_equal(read_mask(tmp_path / "m.tif").array, image.array[0] > 4)
    write_mask(tmp_path / "m.png", image.array[0] > 4, image.geometry)


def test_labels_there_are_ignored_in_the_store(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    mask = np.zeros((32, 32), np.uint8)
    mask[2:6, 2:6], mask[20:24, 20:24] = 1, 1
    for k in range(3):
        array = RNG.normal(size=(32, 32)).astype(np.float32)
        array[:8] = -9999
        write(tmp_path / "images" / f"{k}.tif", array, "-9999")
        write(tmp_path / "masks" / f"{k}.tif", mask)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "hole": 1}}))
    dataset = open_dataset(tmp_path)
    store = build_store(dataset, tmp_path / "store", jobs=1)
    label = store.label(0)
    assert (label[0, :8] == IGNORE).all()
    np.testing.assert_array_equal(label[0, 8:], mask[8:])
    assert np.abs(store.values(0)).max() < 6
    case = dataset.cases[0]
    classes = Classes(("background", "hole"), (0, 1), {"hole": (1,)})
    np.testing.assert_array_equal(read_labels(case, classes, read_image(case.images)), label)


SCALE, TIE = (33550, 12, 3, (10.0, 5.0, 0.0)), (33922, 12, 6, (2.0, 1.0, 0.0, 500.0, 900.0, 0.0))


def keys(*entries):
    words = [1, 1, 0, len(entries)]
    for key, value in entries:
        words += [key, 0, 1, value]
    return (34735, 3, len(words), tuple(words))


def frame_of(*tags, exif=1):
    return map_frame(Geometry(geotiff=tags, exif=exif))


class TestMap:
    def test_a_scale_and_a_tie_point_lead_to_the_map_and_back(self):
        frame = frame_of(SCALE, TIE, keys((1024, 1), (3072, 32633)))
        points = np.array([[2.0, 1.0], [0.0, 0.0], [3.5, 4.0]])
        placed = frame.to_map(points)
        np.testing.assert_allclose(placed, [[500.0, 900.0], [480.0, 905.0], [515.0, 885.0]])
        np.testing.assert_allclose(frame.to_pixels(placed), points, atol=1e-9)
        assert frame.epsg == 32633

    def test_a_point_is_the_centre_of_its_pixel(self):
        frame = frame_of(SCALE, TIE, keys((1025, 2)))
        np.testing.assert_allclose(frame.to_map(np.array([[2.5, 1.5]])), [[500.0, 900.0]])
        assert frame.epsg is None

    def test_a_matrix_may_turn(self):
        matrix = (0.0, 2.0, 0.0, 7.0, 3.0, 0.0, 0.0, 9.0, *(0.0,) * 7, 1.0)
        frame = frame_of((34264, 12, 16, matrix), keys((1024, 2), (2048, 4326)))
        np.testing.assert_allclose(frame.to_map(np.array([[1.0, 10.0]])), [[27.0, 12.0]])
        np.testing.assert_allclose(frame.to_pixels(np.array([[27.0, 12.0]])), [[1.0, 10.0]])
        assert frame.epsg == 4326

    def test_a_system_of_its_own_has_no_code(self):
        assert frame_of(SCALE, TIE, keys((1024, 1), (3072, 32767))).epsg is None
        assert frame_of(SCALE, TIE, keys((1024, 1), (2048, 4326), (3072, 25832))).epsg == 25832

    @pytest.mark.parametrize(
        "tags",
        [
            (),
            (SCALE,),
            (TIE,),
            (SCALE, (33922, 12, 12, (*TIE[3], *TIE[3]))),
            ((33550, 12, 3, (0.0, 0.0, 0.0)), TIE),
            ((33550, 12, 3, (np.nan, 1.0, 0.0)), TIE),
        ],
    )
    def test_what_tells_no_place_has_none(self, tags):
        assert frame_of(*tags) is None
        assert map_frame(Geometry()) is None

    def test_a_picture_that_was_turned_has_none(self):
        assert frame_of(SCALE, TIE, exif=6) is None

    def test_the_tags_of_a_file_are_read(self, tmp_path):
        write(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
        frame = map_frame(read_image([tmp_path / "a.tif"]).geometry)
        np.testing.assert_allclose(frame.to_map(np.array([[1.0, 2.0]])), [[500010.0, 5199980.0]])
        assert frame.epsg == 32633
