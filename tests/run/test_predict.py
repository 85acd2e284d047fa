"""What predict answers and writes: tables, overlays, files of annotation tools, bad files."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import PIL.Image
import pytest

from rareseg.data.masks.mask_run_lengths import decode_counts, decompress_counts
from rareseg.data.masks.polygons import rasterise
from rareseg.errors import ProblemsError, UsageError
from rareseg.run.predict import PredictOptions, predict, predict_images
from rareseg_runner.components import label_components
from rareseg_runner.formats import read_image, read_mask, segments


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(path):
    return np.asarray(PIL.Image.open(path))


@pytest.fixture(scope="module")
def photos(specks, tmp_path_factory):
    """Six photographs, of which some hold specks, two of one name in folders of their own."""
    place = tmp_path_factory.mktemp("photos")
    names = sorted((specks / "images").iterdir())[:6]
    for k, (path, name) in enumerate(
        zip(names, ("a", "b", "c", "d", "line_a/x", "line_b/x"), strict=True)
    ):
        target = place / f"{name}{path.suffix}"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
        assert k < 6
    return place


@pytest.fixture(scope="module")
def predicted(finished, photos, call, tmp_path_factory):
    """All that predict can write of them, and what it said."""
    out = tmp_path_factory.mktemp("predicted") / "out"
    called = call(
        "predict", finished, photos, "--out", out, "--overlay", "--values", "255",
        "--format", "coco,yolo", "--format", "geojson", "--format", "labelme",
    )  # fmt: skip
    assert called.code == 0, called.err
    return out, called


def test_the_tables_say_what_the_masks_show(predicted):
    out, _ = predicted
    rows = rows_of(out / "predictions.csv")
    assert [row["id"] for row in rows] == ["a", "b", "c", "d", "line_a/x", "line_b/x"]
    objects = rows_of(out / "objects.csv")
    assert any(row["flagged"] == "yes" for row in rows)
    for row in rows:
        mask = read(out / row["mask"])
        assert set(np.unique(mask)) <= {0, 255}
        assert int(row["area_pixels"]) == (mask > 0).sum()
        assert (row["flagged"] == "yes") == bool(mask.any())
        labels, count = label_components(mask > 0)
        own = [one for one in objects if one["id"] == row["id"]]
        assert int(row["objects"]) == count == len(own)
        for one in own:
            y, x = np.nonzero(labels == int(one["object"]))
            assert int(one["area_pixels"]) == len(y)
            assert (int(one["x_from"]), int(one["x_to"])) == (x.min(), x.max() + 1)
            assert (int(one["y_from"]), int(one["y_to"])) == (y.min(), y.max() + 1)
            assert float(one["centre_x"]) == pytest.approx(x.mean() + 0.5, abs=0.006)
            assert float(one["mean_score"]) <= float(one["top_score"]) <= float(row["top_score"])
        if own:
            largest = max(own, key=lambda one: int(one["area_pixels"]))
            assert row["largest_x_from"] == largest["x_from"]


def test_the_answer_is_said_by_region(predicted):
    out, called = predicted
    rows = rows_of(out / "predictions.csv")
    flagged = sum(row["flagged"] == "yes" for row in rows)
    objects = sum(int(row["objects"]) for row in rows)
    noun = "object" if objects == 1 else "objects"
    assert f"foreground: {flagged} of 6 images flagged, {objects} {noun}." in called.out


def test_the_label_map_of_one_class_can_be_seen_too(predicted):
    out, _ = predicted
    for row in rows_of(out / "predictions.csv"):
        np.testing.assert_array_equal(read(out / f"{row['id']}.png"), read(out / row["mask"]))


def test_coco_holds_the_masks_and_labelme_too(predicted):
    out, _ = predicted
    content = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    assert [one["file_name"] for one in content["images"]][-1].startswith("line_b/x.")
    for image in content["images"]:
        name = image["file_name"].rpartition(".")[0]
        shape = image["height"], image["width"]
        expected = read(out / "foreground" / f"{name}.png") > 0
        drawn = np.zeros(shape, np.bool_)
        for one in content["annotations"]:
            if one["image_id"] == image["id"]:
                parts = one["segmentation"]
                drawn |= (
                    decode_counts(decompress_counts(parts["counts"]), shape)
                    if isinstance(parts, dict)
                    else rasterise([np.reshape(part, (-1, 2)) for part in parts], shape)
                )
        np.testing.assert_array_equal(drawn, expected)
        shapes = json.loads((out / "labelme" / f"{name}.json").read_text("utf-8"))["shapes"]
        drawn = np.zeros(shape, np.bool_)
        for one in shapes:
            drawn |= rasterise([one["points"]], shape)
        np.testing.assert_array_equal(drawn, expected)


def test_every_image_has_an_overlay(predicted, photos):
    out, _ = predicted
    for name in ("a", "line_b/x"):
        with PIL.Image.open(out / "overlays" / f"{name}.png") as drawn:
            assert drawn.mode == "RGB"
            assert max(drawn.size) >= 600


def test_nothing_is_written_beside_the_images(predicted, photos):
    assert {path.suffix for path in photos.rglob("*") if path.is_file()} == {".png"}


def test_a_call_that_is_taken_up_has_all_rows(finished, photos, predicted, call, tmp_path):
    out = tmp_path / "out"
    first = tmp_path / "some"
    shutil.copytree(photos / "line_a", first / "line_a")
    assert call("predict", finished, first, "--out", out, "--values", "255").code == 0
    assert len(rows_of(out / "predictions.csv")) == 1
    (out / "line_a" / "x.png").touch()
    before = (out / "line_a" / "x.png").stat().st_mtime_ns
    assert call("predict", finished, photos, "--out", out, "--values", "255").code == 0
    assert (out / "line_a" / "x.png").stat().st_mtime_ns == before
    expected = {row["id"]: row for row in rows_of(predicted[0] / "predictions.csv")}
    assert {row["id"]: row for row in rows_of(out / "predictions.csv")} == expected


def test_files_can_be_asked_for_later_without_predicting_again(
    finished, photos, predicted, call, tmp_path
):
    out = tmp_path / "out"
    arguments = ("predict", finished, photos, "--out", out, "--values", "255")
    assert call(*arguments).code == 0
    maps = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert call(*arguments, "--format", "coco").code == 0
    assert (out / "coco.json").read_text() == (predicted[0] / "coco.json").read_text()
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.png")} == maps


def test_another_picture_under_the_same_name_is_predicted(finished, photos, call, tmp_path):
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    shutil.copy(photos / "a.png", images / "x.png")
    assert call("predict", finished, images, "--out", out).code == 0
    shutil.copy(photos / "line_a" / "x.png", images / "x.png")
    assert call("predict", finished, images, "--out", out).code == 0
    alone = tmp_path / "alone"
    assert call("predict", finished, images, "--out", alone).code == 0
    np.testing.assert_array_equal(read(out / "x.png"), read(alone / "x.png"))
    assert rows_of(out / "predictions.csv") == rows_of(alone / "predictions.csv")


def test_one_bad_file_costs_itself(finished, photos, call, tmp_path):
    images = tmp_path / "in"
    shutil.copytree(photos, images)
    (images / "bad.png").write_bytes(b"no picture")
    (images / "cut.png").write_bytes((photos / "a.png").read_bytes()[:60])
    called = call("predict", finished, images, "--out", tmp_path / "out")
    assert called.code == 1
    assert "bad.png" in called.err
    assert "cut.png" in called.err
    assert "2 images could not be finished; 6 images predicted." in called.err
    assert len(rows_of(tmp_path / "out" / "predictions.csv")) == 6
    called = call("predict", finished, images, "--out", tmp_path / "out", "--json")
    record = json.loads(called.out)
    assert called.code == 1
    assert [one["image"] for one in record["failures"]] == ["bad.png", "cut.png"]
    assert record["regions"]["foreground"]["images"] == 6
    with pytest.raises(ProblemsError, match=r"bad\.png.*the other 6 images were predicted"):
        predict(finished, images, tmp_path / "out")


def test_many_files_of_one_fault_are_one_line(finished, photos, call, tmp_path):
    images = tmp_path / "in"
    shutil.copytree(photos, images)
    for k in range(5):
        (images / f"bad{k}.png").write_bytes(b"no picture")
    called = call("predict", finished, images, "--out", tmp_path / "out")
    lines = [line for line in called.err.splitlines() if "bad" in line]
    assert len(lines) == 1
    assert lines[0].startswith("Error: 5 images (bad0.png, bad1.png, …): ")
    assert lines[0].endswith("5 images could not be finished; 6 images predicted.")


def test_coloured_pictures_for_a_grey_model_are_converted_and_counted(
    finished, photos, call, tmp_path
):
    images = tmp_path / "in"
    images.mkdir()
    PIL.Image.open(photos / "a.png").convert("RGB").save(images / "colour.png")
    shutil.copy(photos / "b.png", images / "b.png")
    called = call("predict", finished, images, "--out", tmp_path / "out")
    assert called.code == 0
    assert "1 of 2 images was coloured, converted to grey" in called.out


def test_classes_can_be_numbered(finished, photos, tmp_path):
    done = predict_images(finished, photos, tmp_path / "out", PredictOptions(values="index"))
    for path in done.label_maps:
        assert set(np.unique(read(path))) <= {0, 1}


@pytest.mark.parametrize("values", [0, -1, 65536, True, 1.5, "all"])
def test_values_that_no_mask_can_hold_are_refused(values):
    with pytest.raises(UsageError, match="--values"):
        PredictOptions(values=values)


def test_formats_that_cannot_hold_the_images_are_refused_beforehand(
    finished, photos, call, tmp_path
):
    called = call("predict", finished, photos, "--out", tmp_path / "o", "--format", "seg.nrrd")
    assert called.code == 2
    assert "is a photograph" in called.err
    assert not (tmp_path / "o").exists()


def test_an_id_that_leads_out_of_the_folder_does_not(finished, photos, call, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(photos / "a.png", tmp_path / "in" / "a.png")
    lines = ("id,image,mask", "../../escaped,a.png,empty", "12:30,a.png,empty")
    (tmp_path / "in" / "manifest.csv").write_text("\n".join(lines))
    out = tmp_path / "deep" / "down" / "out"
    assert call("predict", finished, tmp_path / "in" / "manifest.csv", "--out", out).code == 0
    assert [row["id"] for row in rows_of(out / "predictions.csv")] == ["12_30", "escaped"]
    assert {path.name for path in out.glob("*.png")} == {"escaped.png", "12_30.png"}
    assert [path for path in tmp_path.rglob("*escaped*") if out not in path.parents] == []


@pytest.mark.extras
def test_a_dicom_image_gets_a_dicom_segmentation(
    finished, photos, call, dicom, write_series, tmp_path
):
    shown = np.asarray(PIL.Image.open(photos / "a.png")).astype(np.int16)
    folder = write_series(tmp_path / "in", shown[None])
    out = tmp_path / "out"
    asked = ("predict", finished, folder / "000.dcm", "--out", out, "--format", "dicom-seg")
    called = call(*asked)
    assert called.code == 0, called.err
    labels = read_mask(out / "000.nii.gz").array
    assert labels.any()
    written = out / "segmentations" / "000.dcm"
    image = read_image([folder / "000.dcm"])
    assert [(s.name, s.value) for s in segments(written)] == [("foreground", 1)]
    np.testing.assert_array_equal(read_mask(written, image=image).array != 0, labels != 0)
