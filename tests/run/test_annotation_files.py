"""A folder with a COCO file goes all the way: train, evaluate on another export, a manifest."""

import csv
import json

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset
from rareseg.data.masks.polygons import trace


def pictures(root, count, seed):
    """Pictures of 64 x 64 with a bright crack, and every third one with a dark hole as well."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        image = rng.normal(110, 8, (64, 64))
        objects = []
        for name, present, change in (("crack", k % 4 != 3, 90), ("hole", k % 3 == 0, -90)):
            if present:
                y, x = rng.integers(2, 52, 2)
                mask = np.zeros((64, 64), bool)
                mask[y : y + 9, x : x + 8] = True
                image[mask] += change
                objects.append((name, mask))
        path = root / "images" / f"part{seed}_{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)
        yield path, objects


def write_coco(root, count=24):
    images, annotations = [], []
    for number, (path, objects) in enumerate(pictures(root, count, seed=1)):
        images.append({"id": number, "file_name": path.name, "width": 64, "height": 64})
        for name, mask in objects:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1 + (name == "hole"),
                    "segmentation": [ring.ravel().tolist() for ring in trace(mask)],
                }
            )
    categories = [{"id": 1, "name": "crack"}, {"id": 2, "name": "hole"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_default.json").write_text(json.dumps(content))
    return root


def write_labelme(root, count=8):
    """Holes alone: they are the first class of this export, and the second one of the model."""
    for path, objects in pictures(root, count, seed=2):
        shapes = [
            {"label": name, "points": ring.tolist(), "shape_type": "polygon"}
            for name, mask in objects
            if name == "hole"
            for ring in trace(mask)
        ]
        about = {"imagePath": path.name, "imageWidth": 64, "imageHeight": 64, "imageData": None}
        path.with_suffix(".json").write_text(json.dumps({"shapes": shapes, **about}))
    return root


@pytest.mark.slow
def test_a_coco_folder_is_trained_on_and_judged_on_another_export(call, settings, tmp_path):
    data, run = write_coco(tmp_path / "data"), tmp_path / "run"
    done = call("train", data, "--out", run, "--overlap", "later", *settings(training__steps=20))
    assert done.code == 0, done.err
    masks = {case.id: read_case_mask(case) for case in open_dataset(data).cases}

    other = write_labelme(tmp_path / "other")
    assert dict(open_dataset(other).labels) == {"hole": 1}
    done = call("evaluate", run, other, "--out", tmp_path / "judged")
    assert done.code == 0, done.err
    with (tmp_path / "judged" / "cases.csv").open() as file:
        rows = list(csv.DictReader(file))
    positives = {
        region: sum(
            row["stratum"] == "positive" for row in rows if row["case"] and row["region"] == region
        )
        for region in ("crack", "hole")
    }
    assert positives == {"crack": 0, "hole": 3}

    done = call(
        *("audit", data, "--out", tmp_path / "audit"),
        *("--overlap", "later", "--write-manifest", tmp_path / "m.csv"),
    )
    assert done.code == 0, done.err
    again = open_dataset(tmp_path / "m.csv")
    assert dict(again.labels) == {"crack": 1, "hole": 2}
    for case in again.cases:
        mask, before = read_case_mask(case), masks[case.id]
        assert (mask is None) == (before is None)
        if mask is not None:
            np.testing.assert_array_equal(mask.array, before.array)
