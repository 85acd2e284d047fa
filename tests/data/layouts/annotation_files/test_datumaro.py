"""Files that datumaro writes, in an environment of its own that `make test-datumaro` makes."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.case_files import read_case_mask
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset

PYTHON = Path(__file__).parents[4] / ".venv-datumaro" / "bin" / "python"
WRITERS = Path(__file__).with_name("datumaro_writers.py")
WRITTEN = (
    ("coco", "polygons", 2, "coco"),
    ("coco", "masks", 2, "coco"),
    ("coco_instances", "polygons", 2, "coco"),
    ("coco_instances", "masks", 2, "coco"),
    ("coco_stuff", "masks", 2, "coco"),
    ("cvat", "polygons", 2, "cvat"),
    ("cvat", "masks", 2, "cvat"),
    ("voc", "masks", 2, "labelmap"),
    ("voc_segmentation", "masks", 2, "labelmap"),
    ("cityscapes", "masks", 2, "cityscapes"),
    ("open_images", "masks", 2, "folders"),
    # Of several objects a picture, the last one alone is written.
    ("mvtec_segmentation", "masks", 1, "folders"),
)
"""Format of datumaro, how objects are given, how many a picture, and the layout found here."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four pictures with two objects each, written by every writer; and the objects' masks."""
    if not PYTHON.exists():
        pytest.skip("make test-datumaro makes the environment in which datumaro is installed")
    folder = tmp_path_factory.mktemp("datumaro")
    rng = np.random.default_rng(3)
    masks, outlines = np.zeros((4, 2, 40, 50), bool), np.zeros((4, 2, 6, 2))
    for k in range(4):
        for mask, outline in zip(masks[k], outlines[k], strict=True):
            y, x = rng.integers(8, 30, 2)
            mask[y - 6 : y + 6, x - 7 : x + 7] = True
            mask[y - 6 : y - 3, x - 7 : x - 3] = False
            corners = ((-7, -3), (-3, -3), (-3, -6), (7, -6), (7, 6), (-7, 6))
            outline[:] = np.array(corners) + np.array((x, y))
        picture = rng.integers(0, 255, (40, 50, 3), np.uint8)
        Picture.fromarray(picture).save(folder / f"lump{k}.png")
    np.savez(folder / "drawn.npz", masks=masks, outlines=outlines)
    (folder / "writers.json").write_text(json.dumps([row[:3] for row in WRITTEN]))
    # An environment of its own finds none of the modules of this one.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([PYTHON, "-W", "ignore", WRITERS, folder], check=True, env=own)
    return folder, masks


@pytest.mark.parametrize(("form", "shape", "count", "layout"), WRITTEN)
def test_what_datumaro_writes_is_read_as_it_was_drawn(drawn, form, shape, count, layout):
    folder, masks = drawn
    dataset = open_dataset(folder / f"{form}-{shape}")
    assert (dataset.layout, dataset.problems) == (layout, ())
    assert len(dataset.cases) == 4
    assert inspect_dataset(dataset, jobs=1).problems == ()
    for case in dataset.cases:
        own = masks[int(case.images[0].name.removeprefix("lump")[0])]
        expected = np.zeros((40, 50), int)
        for number in range(count):
            expected[own[number]] = number + 1 if count > 1 else 255
        np.testing.assert_array_equal(read_case_mask(case).array[0], expected)
    if dataset.labels:
        assert [name.partition("_")[0] for name in dataset.labels] == ["crack", "hole"]
