"""Lengths that DICOM files state are checked before a reader takes memory for them."""

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from rareseg.errors import ReadError
from rareseg_runner.formats.volumes.dicom_elements import check_elements

DATA = os.environ.get("RARESEG_DATA")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "slice.dcm"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(30, dtype=np.int16).reshape(5, 6)), str(path))
    return path


def changed(path: Path, tag: bytes, at: int, value: bytes) -> Path:
    """Write other bytes ``at`` places behind where an element begins."""
    content = bytearray(path.read_bytes())
    begin = content.index(tag, 132)
    content[begin + at : begin + at + len(value)] = value
    path.write_bytes(content)
    return path


def test_a_whole_file_passes_and_what_is_no_dicom_is_left_to_others(
    file: Path, tmp_path: Path
) -> None:
    check_elements(file)
    (tmp_path / "other.dcm").write_bytes(b"\0" * 300)
    check_elements(tmp_path / "other.dcm")


def test_an_element_that_is_longer_than_the_file_is_refused(file: Path) -> None:
    broken = changed(file, b"\x02\x00\x03\x00UI", 6, b"\xff\xff")
    with pytest.raises(ReadError, match=r"element \(0002,0003\) states 65535 bytes"):
        check_elements(broken)


def test_a_value_representation_that_does_not_exist_is_refused(file: Path) -> None:
    broken = changed(file, b"\x02\x00\x03\x00UI", 4, b"\xcc")
    with pytest.raises(ReadError, match=r"element \(0002,0003\) has a value representation"):
        check_elements(broken)


@pytest.mark.skipif(DATA is None, reason="RARESEG_DATA does not name the real data")
def test_real_series_pass() -> None:
    files = [path for path in (Path(DATA or "") / "dicom").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        check_elements(path)
