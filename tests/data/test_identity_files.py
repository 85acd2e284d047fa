"""A header and its data file are one content: a changed data file is another image."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

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
