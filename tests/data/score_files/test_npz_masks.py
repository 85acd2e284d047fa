"""Which files of a folder are masks to be scored."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from rareseg.data.score_files.mask_files import list_masks, read_label_scores
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import Classes

CLASSES = Classes(("background", "a"), (0, 1), {"a": (1,)})


def test_probabilities_of_nnunet_beside_its_masks_are_passed_over(tmp_path):
    for case in ("x", "y"):
        sitk.WriteImage(
            sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8)), tmp_path / f"{case}.nii.gz"
        )
        np.savez(tmp_path / f"{case}.npz", probabilities=np.zeros((2, 2, 3, 4), np.float32))
    found = list_masks(tmp_path, ["x", "y"], ["x", "y"], ["a"])
    assert {files[""].suffix for files in found.files.values()} == {".gz"}


def test_masks_in_npz_alone_are_read(tmp_path):
    labels = np.zeros((6, 30, 40), np.uint8)
    labels[1, 5:9, 5:9] = 1
    np.savez(tmp_path / "x.npz", labels)
    np.savez(tmp_path / "image.npz", labels.astype(np.float32))
    (tmp_path / "m").mkdir()
    (tmp_path / "x.npz").rename(tmp_path / "m" / "x.npz")
    found = list_masks(tmp_path / "m", ["x"], ["x"], ["a"])
    image = read_image([tmp_path / "image.npz"])
    scores = read_label_scores(found.files["x"][""], image, CLASSES)
    np.testing.assert_array_equal(scores[1], labels)
