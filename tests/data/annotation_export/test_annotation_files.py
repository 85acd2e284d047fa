"""What is written for annotation tools, read again, is the mask, pixel for pixel."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import yaml
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.data.annotation_export.annotated import AnnotatedObject, AnnotatedPicture
from rareseg.data.annotation_export.annotation_formats import (
    PICTURE_FORMATS,
    chosen_formats,
)
from rareseg.data.annotation_export.geojson_files import GeojsonFiles
from rareseg.data.annotation_export.segment_file import write_segments
from rareseg.data.masks.mask_run_lengths import decode_counts, decompress_counts
from rareseg.data.masks.polygons import rasterise, ring_area
from rareseg.errors import UsageError
from rareseg_runner.components import label_components
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import Geometry

NAMES = ("crack", "hole")

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def objects_of(name: str, mask: np.ndarray) -> list[AnnotatedObject]:
    labels, _ = label_components(mask)
    return [
        AnnotatedObject(name, k, (box[0].start, box[1].start), labels[box] == k, 0.75)
        for k, box in enumerate(ndimage.find_objects(labels.astype(int)), start=1)
    ]


def picture_of(folder, masks: dict[str, np.ndarray], name: str = "line/a") -> AnnotatedPicture:
    height, width = next(iter(masks.values())).shape
    objects = [one for name, mask in masks.items() for one in objects_of(name, mask)]
    file = folder / "in" / f"{name}.png"
    return AnnotatedPicture(name, file, f"{name}.png", height, width, objects)


def read_coco(out, shape):
    content = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in content["categories"]}
    for one in content["annotations"]:
        drawn = one["segmentation"]
        if isinstance(drawn, dict):
            assert drawn["size"] == list(shape)
            mask = decode_counts(decompress_counts(drawn["counts"]), shape)
        else:
            mask = rasterise([np.reshape(part, (-1, 2)) for part in drawn], shape)
        rows, columns = np.nonzero(mask)
        assert one["area"] == mask.sum()
        x, y, width, height = one["bbox"]
        assert (x, y, x + width - 1, y + height - 1) == (
            columns.min(),
            rows.min(),
            columns.max(),
            rows.max(),
        )
        yield names[one["category_id"]], mask


def read_yolo(out, shape):
    names = yaml.safe_load((out / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"]
    text = (out / "yolo" / "labels" / "line" / "a.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        number, *corners = line.split()
        ring = np.array(corners, float).reshape(-1, 2) * (shape[1], shape[0])
        yield names[int(number)], rasterise([ring], shape)


def read_geojson(out, shape):
    path = out / "geojson" / "line" / "a.geojson"
    for feature in json.loads(path.read_text(encoding="utf-8"))["features"]:
        drawn = feature["geometry"]
        parts = drawn["coordinates"]
        polygons = [parts] if drawn["type"] == "Polygon" else parts
        for polygon in polygons:
            for number, ring in enumerate(polygon):
                assert ring[0] == ring[-1]
                assert (ring_area(np.array(ring)) > 0) == (number == 0)
        rings = [ring for polygon in polygons for ring in polygon]
        yield feature["properties"]["classification"]["name"], rasterise(rings, shape)


def read_labelme(out, shape):
    path = out / "labelme" / "line" / "a.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["imageHeight"], content["imageWidth"]) == shape
    for one in content["shapes"]:
        yield one["label"], rasterise([one["points"]], shape)


READERS = {
    "coco": read_coco,
    "yolo": read_yolo,
    "geojson": read_geojson,
    "labelme": read_labelme,
}


def test_every_format_is_read_again_here():
    assert set(READERS) == set(PICTURE_FORMATS)


@pytest.mark.parametrize("name", PICTURE_FORMATS)
@settings(deadline=None, max_examples=40)
@given(mask=masks)
def test_what_is_written_is_the_mask(name, mask, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    given_masks = {"crack": mask, "hole": ~mask}
    files = PICTURE_FORMATS[name].begin(out, NAMES)
    picture = picture_of(out, given_masks)
    files.add(picture)
    assert files.close().exists()
    found = list(READERS[name](out, mask.shape))
    assert [one for one, _ in found] == [one.name for one in picture.objects]
    for (_, read), one in zip(found, picture.objects, strict=True):
        np.testing.assert_array_equal(read, one.on(*mask.shape))


@pytest.mark.parametrize("name", PICTURE_FORMATS)
def test_a_picture_without_objects_is_in_the_files_too(name, tmp_path):
    files = PICTURE_FORMATS[name].begin(tmp_path, NAMES)
    files.add(picture_of(tmp_path, {"crack": np.zeros((3, 4), np.bool_)}))
    files.close()
    assert list(READERS[name](tmp_path, (3, 4))) == []


def test_coco_of_several_pictures_is_what_pycocotools_reads(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    files = PICTURE_FORMATS["coco"].begin(tmp_path, NAMES)
    random = np.random.default_rng(2)
    drawn = {f"p{k}": ndimage.binary_opening(random.random((40, 50)) < 0.7) for k in range(3)}
    drawn["p3"] = np.zeros((40, 50), np.bool_)
    for name, mask in drawn.items():
        files.add(picture_of(tmp_path, {"hole": mask}, name))
    read = coco.COCO(files.close())
    for image in read.loadImgs(read.getImgIds()):
        whole = np.zeros((40, 50), np.bool_)
        for one in read.loadAnns(read.getAnnIds(image["id"])):
            assert read.loadCats(one["category_id"])[0]["name"] == "hole"
            whole |= read.annToMask(one).astype(bool)
        np.testing.assert_array_equal(whole, drawn[image["file_name"].removesuffix(".png")])


def test_labelme_names_the_picture_where_it_lies(tmp_path):
    picture = picture_of(tmp_path, {"crack": np.ones((2, 2), np.bool_)})
    picture.file.parent.mkdir(parents=True)
    PIL.Image.new("L", (2, 2)).save(picture.file)
    files = PICTURE_FORMATS["labelme"].begin(tmp_path / "out", NAMES)
    files.add(picture)
    path = tmp_path / "out" / "labelme" / "line" / "a.json"
    named = json.loads(path.read_text(encoding="utf-8"))["imagePath"]
    assert (path.parent / named).resolve() == picture.file.resolve()


@pytest.mark.parametrize(
    ("code", "system"),
    [
        (32633, "urn:ogc:def:crs:EPSG::32633"),
        (4326, "urn:ogc:def:crs:OGC:1.3:CRS84"),
        (32767, None),
    ],
)
def test_geojson_of_a_geotiff_is_on_the_map(tmp_path, code, system):
    mask = np.ones((3, 3), np.bool_)
    mask[1, 1] = False
    keys = (1, 1, 0, 1, 3072 if code != 4326 else 2048, 0, 1, code)
    tags = (
        (33550, 12, 3, (10.0, 10.0, 0.0)),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0)),
        (34735, 3, 8, keys),
    )
    picture = replace(picture_of(tmp_path, {"crack": mask}), geometry=Geometry(geotiff=tags))
    GeojsonFiles(tmp_path, NAMES).add(picture)
    path = tmp_path / "geojson" / "line" / "a.geojson"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content.get("crs", {}).get("properties", {}).get("name") == system
    (feature,) = content["features"]
    shell, hole = feature["geometry"]["coordinates"]
    assert [500.0, 900.0] in shell
    assert [530.0, 870.0] in shell
    assert ring_area(np.array(shell)) > 0 > ring_area(np.array(hole))


class TestSegments:
    def test_names_values_and_extents_stand_in_the_header(self, tmp_path):
        labels = np.zeros((4, 5, 6), np.uint8)
        labels[1:3, 2:4, 0:5], labels[3, 4, 5] = 3, 7
        frame = Geometry(
            (2.0, 1.0, 0.5), 3, (1.0, 2.0, 3.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0), "RAS"
        )
        path = tmp_path / "a.seg.nrrd"
        write_segments(path, labels, frame, {"liver": 3, "spleen": 7, "absent": 9})
        read = sitk.ReadImage(str(path))
        about = {key: read.GetMetaData(key) for key in read.GetMetaDataKeys()}
        assert [about[f"Segment{k}_Name"] for k in range(3)] == ["liver", "spleen", "absent"]
        assert [about[f"Segment{k}_LabelValue"] for k in range(3)] == ["3", "7", "9"]
        whole = sitk.GetArrayFromImage(read)
        for k, value in ((0, 3), (1, 7)):
            i0, i1, j0, j1, k0, k1 = map(int, about[f"Segment{k}_Extent"].split())
            inside = whole[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
            assert (inside == value).sum() == (whole == value).sum() > 0
        assert about["Segment2_Extent"] == "0 -1 0 -1 0 -1"
        again = read_mask(path)
        np.testing.assert_array_equal(again.array, labels)
        assert again.geometry.spacing == frame.spacing


def test_formats_are_named_once_and_checked():
    assert chosen_formats(["coco, yolo", "coco"]) == ("coco", "yolo")
    assert chosen_formats([]) == ()
    with pytest.raises(UsageError, match=r"did you mean 'geojson'.*allowed are coco"):
        chosen_formats(["geojsn"])
