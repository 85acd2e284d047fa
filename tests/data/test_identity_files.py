"""A header and its data file are one content: a changed data file is another image."""

from __future__ import annotations

import base64
import json

import numpy as np
import SimpleITK as sitk
import tifffile

from rareseg.data.dataset import open_dataset
from rareseg.data.identity import FileDigests, content_hash


def test_the_data_file_of_a_header_is_part_of_its_identity(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        volume = sitk.GetImageFromArray(np.eye(6, dtype=np.uint8)[None].repeat(4, 0))
        sitk.WriteImage(volume, tmp_path / folder / "a.mhd")
    before = content_hash(open_dataset(tmp_path))
    header = tmp_path / "masks" / "a.mhd"
    digest = FileDigests().of(header)
    assert digest == FileDigests().of(header)
    with (tmp_path / "masks" / "a.raw").open("ab") as file:
        file.write(b"x")
    assert FileDigests().of(header) != digest
    assert content_hash(open_dataset(tmp_path)) != before


def write_stack(root, name, spacing):
    root.mkdir(parents=True, exist_ok=True)
    stack = np.arange(4 * 6 * 7, dtype=np.uint8).reshape(4, 6, 7)
    tifffile.imwrite(root / f"{name}.tif", stack, photometric="minisblack")
    if spacing is not None:
        (root / f"{name.removesuffix('_0000')}.json").write_text(json.dumps(spacing))
    return root / f"{name}.tif"


def test_the_spacing_beside_a_tiff_is_part_of_its_identity(tmp_path):
    paths = {
        "one": write_stack(tmp_path / "1", "a_0000", {"spacing": [3, 1, 1]}),
        "moved": write_stack(tmp_path / "2", "b", {"spacing": [3.0, 1.0, 1.0], "by": "me"}),
        "other": write_stack(tmp_path / "3", "a_0000", {"spacing": [2, 1, 1]}),
        "damaged": write_stack(tmp_path / "4", "a_0000", {"spacing": "wide"}),
        "none": write_stack(tmp_path / "5", "a_0000", None),
        "nothing said": write_stack(tmp_path / "6", "a_0000", {"shapes": []}),
    }
    digests = {name: FileDigests().of(path) for name, path in paths.items()}
    assert digests["one"] == digests["moved"]
    assert digests["none"] == digests["nothing said"]
    assert len(set(digests.values())) == 4


def test_data_whose_spacing_changed_are_other_data(tmp_path):
    write_stack(tmp_path / "imagesTr", "a_0000", {"spacing": [3, 1, 1]})
    write_stack(tmp_path / "labelsTr", "a", {"spacing": [3, 1, 1]})
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "file_ending": ".tif"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    before = content_hash(open_dataset(tmp_path))
    assert content_hash(open_dataset(tmp_path)) == before
    write_stack(tmp_path / "imagesTr", "a_0000", {"spacing": [4, 1, 1]})
    assert content_hash(open_dataset(tmp_path)) != before


def test_an_image_in_an_annotation_file_stays_the_same_when_it_is_drawn_anew(tmp_path):
    content = {"shapes": [], "imageData": base64.b64encode(b"picture").decode()}
    digests = []
    for k, shapes in enumerate(([], [{"label": "a"}])):
        path = tmp_path / f"{k}.json"
        path.write_text(json.dumps({**content, "shapes": shapes}))
        known = FileDigests()
        digests.append((known.of_image(path), known.of(path)))
        assert known.of_image(path) == digests[-1][0]
    (first, first_file), (second, second_file) = digests
    assert first == second
    assert len({first, first_file, second_file}) == 3
    (tmp_path / "0.json").write_text("{}")
    assert FileDigests().of_image(tmp_path / "0.json") not in (first, "")
