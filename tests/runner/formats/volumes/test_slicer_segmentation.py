"""Segmentations of 3D Slicer: names, layers, and an extent that is a part of the image's."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from rareseg.data.case_files import read_case_mask
from rareseg.data.records import Case
from rareseg.errors import ReadError
from rareseg_runner.formats import is_image, read_image, read_mask, segments, stem_of, write_mask

SHAPE = (6, 20, 24)
SPACING = (0.5, 0.75, 2.0)
FIRST = (-10.0, 4.0, 30.0)


def volume(array, first=FIRST, *, vector=False, spacing=SPACING, direction=None):
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing(spacing)
    image.SetOrigin(first)
    if direction is not None:
        image.SetDirection(direction)
    return image


def save(path, image, *named):
    """Write segments (name, label value, layer) as Slicer names them."""
    for number, (name, value, layer) in enumerate(named):
        about = {
            "ID": f"Segment_{number + 1}",
            "Name": name,
            "LabelValue": str(value),
            "Layer": str(layer),
            "Color": "0.5 0.2 1",
            "Extent": "0 1 0 1 0 1",
        }
        for key, said in about.items():
            image.SetMetaData(f"Segment{number}_{key}", said)
    sitk.WriteImage(image, path, True)
    return path


@pytest.fixture
def image(tmp_path):
    rng = np.random.default_rng(8)
    path = tmp_path / "c.nrrd"
    sitk.WriteImage(volume(rng.integers(0, 900, SHAPE).astype(np.int16)), path)
    return path


def labels():
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 5:9, 6:11], array[3:5, 12:15, 14:20] = 1, 4
    return array


def test_names_values_and_colours_are_told(tmp_path):
    named = (("tumour", 1, 0), ("cyst, left", 4, 0))
    path = save(tmp_path / "c.seg.nrrd", volume(labels()), *named)
    assert [(s.name, s.value) for s in segments(path)] == [("tumour", 1), ("cyst, left", 4)]
    assert segments(path)[0].colour == (128, 51, 255)
    np.testing.assert_array_equal(read_mask(path).array, labels())
    assert stem_of(path) == "c"
    assert is_image(path)
    other = save(tmp_path / "d.nrrd", volume(labels()), *named)
    assert [s.name for s in segments(other)] == ["tumour", "cyst, left"]


def test_a_file_without_segments_names_none(image, tmp_path):
    assert segments(image) == ()
    write_mask(tmp_path / "m.seg.nrrd", labels(), read_image([image]).geometry)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.seg.nrrd").array, labels())


def test_a_part_of_the_image_is_padded_to_it(image, tmp_path):
    low = np.array((2, 5, 6))
    part = labels()[2:5, 5:15, 6:20]
    first = np.array(FIRST) + np.array(SPACING) * low[::-1]
    path = save(tmp_path / "c.seg.nrrd", volume(part, first), ("a", 1, 0), ("b", 4, 0))
    np.testing.assert_array_equal(read_mask(path).array, part)
    mask = read_mask(path, image=read_image([image]))
    np.testing.assert_array_equal(mask.array, labels())
    assert mask.geometry == read_image([image]).geometry
    np.testing.assert_array_equal(read_case_mask(Case("c", (image,), path)).array, labels())


def test_a_larger_or_turned_grid_is_brought_to_the_image(image, tmp_path):
    larger = np.pad(labels(), 2)
    first = np.array(FIRST) - 2 * np.array(SPACING)
    path = save(tmp_path / "l.seg.nrrd", volume(larger, first), ("a", 1, 0))
    shown = read_image([image])
    np.testing.assert_array_equal(read_mask(path, image=shown).array, labels())
    last = np.array(FIRST) + np.array(SPACING) * (np.array(SHAPE[::-1]) - 1)
    turned = volume(labels()[::-1, ::-1, ::-1], last, direction=-np.eye(3).ravel())
    path = save(tmp_path / "t.seg.nrrd", turned, ("a", 1, 0))
    np.testing.assert_array_equal(read_mask(path, image=shown).array, labels())


def test_grids_that_do_not_coincide_are_refused(image, tmp_path):
    shown = read_image([image])
    between = np.array(FIRST) + 0.4 * np.array(SPACING)
    outside = np.array(FIRST) + np.array(SPACING) * 10
    cases = {
        "between voxels": volume(labels(), between),
        "labels lie outside": volume(labels(), outside),
        "the spacing": volume(labels(), spacing=(1.0, 1.0, 2.0)),
    }
    for said, drawn in cases.items():
        path = save(tmp_path / "x.seg.nrrd", drawn, ("a", 1, 0))
        with pytest.raises(ReadError, match=rf"x\.seg\.nrrd does not lie on .*{said}"):
            read_mask(path, image=shown)


class TestLayers:
    def test_segments_in_several_layers_are_painted(self, tmp_path):
        layers = np.zeros((*SHAPE, 2), np.uint8)
        layers[1, 2:5, 3:6, 0], layers[1, 8:9, 3:6, 0], layers[4, 2:5, 3:6, 1] = 1, 2, 1
        named = (("a", 1, 0), ("b", 2, 0), ("c", 1, 1))
        path = save(tmp_path / "c.seg.nrrd", volume(layers, vector=True), *named)
        assert [(s.name, s.value) for s in segments(path)] == [("a", 1), ("b", 2), ("c", 3)]
        expected = layers[..., 0] + 3 * layers[..., 1]
        np.testing.assert_array_equal(read_mask(path).array, expected)

    def test_overlaps_are_named_and_counted(self, tmp_path):
        layers = np.zeros((*SHAPE, 2), np.uint8)
        layers[1, 2:5, 3:6, 0], layers[1, 4:9, 3:6, 1] = 1, 2
        named = (("liver", 1, 0), ("tumour", 2, 1))
        path = save(tmp_path / "c.seg.nrrd", volume(layers, vector=True), *named)
        with pytest.raises(
            ReadError, match=r"c\.seg\.nrrd has segments .*'tumour' and 'liver' share 3 voxels"
        ):
            read_mask(path)

    def test_files_of_before_4_11_hold_one_component_each(self, tmp_path):
        layers = np.zeros((*SHAPE, 2), np.uint8)
        layers[1, 2:5, 3:6, 0], layers[4, 4:9, 3:6, 1] = 1, 1
        drawn = volume(layers, vector=True)
        for number, name in enumerate(("a", "b")):
            drawn.SetMetaData(f"Segment{number}_ID", f"Segment_{number}")
            drawn.SetMetaData(f"Segment{number}_Name", name)
        sitk.WriteImage(drawn, tmp_path / "c.seg.nrrd")
        assert [(s.name, s.value) for s in segments(tmp_path / "c.seg.nrrd")] == [
            ("a", 1),
            ("b", 2),
        ]
        expected = layers[..., 0] + 2 * layers[..., 1]
        np.testing.assert_array_equal(read_mask(tmp_path / "c.seg.nrrd").array, expected)

    def test_a_layer_that_is_not_there_is_refused(self, tmp_path):
        layers = np.zeros((*SHAPE, 2), np.uint8)
        path = save(tmp_path / "c.seg.nrrd", volume(layers, vector=True), ("a", 1, 0), ("b", 1, 5))
        with pytest.raises(ReadError, match=r"places 'b' in layer 5 of 2"):
            read_mask(path)


def test_a_damaged_header_is_one_sentence(tmp_path):
    save(tmp_path / "c.seg.nrrd", volume(labels()), ("a", 1, 0))
    content = (tmp_path / "c.seg.nrrd").read_bytes()
    (tmp_path / "c.seg.nrrd").write_bytes(content.replace(b"LabelValue:=1", b"LabelValue:=x"))
    with pytest.raises(ReadError, match=r"c\.seg\.nrrd cannot be read as NRRD"):
        segments(tmp_path / "c.seg.nrrd")
