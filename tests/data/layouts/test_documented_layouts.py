"""The page on data: every layout has a row, and what the row shows opens as that layout."""

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import layouts

PAGE = Path(__file__).parents[3] / "docs" / "your-data.md"
ROW = re.compile(r"^\| `(?P<name>\w+)` \|.*\| (?P<files>`[^|]*`) \|$", re.MULTILINE)
TABLE = PAGE.read_text().partition("### Folders of images and masks")[0]
ROWS = {row["name"]: re.findall(r"`([^`]+)`", row["files"]) for row in ROW.finditer(TABLE)}
HERE = (
    *("manifest", "decathlon", "nnunet", "cityscapes", "industrial", "slices", "folders"),
    *("case_folders", "image_with_mask", "side_by_side"),
)
TEXTS = {
    "manifest": {"manifest.csv": "image,mask\nimages/a.png,masks/a.png\n"},
    "decathlon": {
        "dataset.json": json.dumps(
            {"training": [{"image": "scans/a.nii.gz", "label": "segs/a.nii.gz"}]}
        )
    },
    "nnunet": {
        "dataset.json": json.dumps(
            {"channel_names": {"0": "CT"}, "labels": {"background": 0, "object": 1}}
        )
    },
}


def expanded(name):
    """``{000..002}`` in a name as three names."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", name)
    if not found:
        return [name]
    numbers = range(int(found[1]), int(found[2]) + 1)
    return [name.replace(found[0], f"{n:0{len(found[1])}d}") for n in numbers]


def test_the_rows_stand_in_the_order_in_which_layouts_are_tried():
    described = [
        layout.name for layout in layouts() if "annotation_files" not in layout.read.__module__
    ]
    assert list(ROWS) == described


@pytest.mark.parametrize("name", HERE)
def test_what_a_row_shows_opens_as_its_layout(name, tmp_path):
    for file in (one for shown in ROWS[name] for one in expanded(shown)):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = TEXTS.get(name, {}).get(file)
        if text is not None:
            path.write_text(text)
        elif file.endswith(".npz"):
            np.savez(path, image=np.eye(6, 8, dtype=np.uint8), mask=np.eye(6, 8, dtype=np.uint8))
        elif file.endswith(".nii.gz"):
            sitk.WriteImage(sitk.GetImageFromArray(np.eye(6, 8, dtype=np.uint8)[None]), path)
        else:
            PIL.Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(path)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.problems) == (name, ())
    assert any(case.mask is not None for case in dataset.cases)
    assert inspect_dataset(dataset, jobs=1).cases
