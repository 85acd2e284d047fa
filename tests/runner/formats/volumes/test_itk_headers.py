"""Headers of NRRD and MetaImage are checked before ITK sees them: it ends the process on some."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image
from rareseg_runner.formats.volumes.itk_headers import check_header

VOXELS = np.random.default_rng(9).integers(0, 900, (5, 6, 7)).astype(np.int16)
MHA = "ObjectType = Image\nNDims = {axes}\nBinaryData = True\nDimSize = {sizes}\n{more}"
MHA += "ElementType = {kind}\nElementDataFile = LOCAL\n"
NRRD = "NRRD0004\ntype: {kind}\ndimension: {axes}\nsizes: {sizes}\nencoding: {packed}\n"
NRRD += "endian: little\n\n"


def mha(axes=3, sizes="7 6 5", kind="MET_SHORT", more=""):
    return MHA.format(axes=axes, sizes=sizes, kind=kind, more=more).encode()


def nrrd(axes=3, sizes="7 6 5", kind="short", packed="raw"):
    return NRRD.format(axes=axes, sizes=sizes, kind=kind, packed=packed).encode()


@pytest.mark.parametrize(
    ("name", "header"), [("a.mha", mha()), ("a.nrrd", nrrd()), ("a.nrrd", nrrd(kind="int16"))]
)
def test_a_sound_file_is_read(tmp_path, name, header):
    (tmp_path / name).write_bytes(header + VOXELS.tobytes())
    np.testing.assert_array_equal(read_image([tmp_path / name]).array[0], VOXELS)


@pytest.mark.parametrize(
    ("name", "header", "said"),
    [
        ("a.mha", mha(axes=100), "states 100 axes of the sizes 7 × 6 × 5"),
        ("a.mha", mha(axes=-3), "states no axes"),
        ("a.mha", mha(sizes="7 6"), "states 3 axes of the sizes 7 × 6,"),
        ("a.mha", mha(sizes="7 0 5"), "of the sizes 7 × 0 × 5"),
        ("a.mha", mha(sizes="7 6 6"), "is truncated: .* 504 bytes and 420 are there"),
        ("a.mha", mha(more="CompressedData = True\n"), "cannot be decompressed"),
        ("a.nrrd", nrrd(packed="gzip"), "cannot be decompressed"),
        ("a.nrrd", nrrd(packed="bzip2"), "cannot be decompressed"),
        ("a.mha", mha(kind="MET_OTHER"), "numbers of the type 'MET_OTHER'"),
        ("a.mha", mha(more="ElementNumberOfChannels = 1000000\n"), "is truncated"),
        ("a.mha", mha(sizes="70000 70000 5", more="CompressedData = True\n"), r"45\.6 GiB"),
        ("a.mha", b"ObjectType = Image\nNDims = 3\n", "no header of NRRD or MetaImage"),
        ("a.nrrd", nrrd(axes=17), "states 17 axes"),
        ("a.nrrd", nrrd(sizes="7 6 999999999999"), r"78231\.1 GiB"),
        ("a.nrrd", nrrd(sizes="7 6 9999999999", packed="gzip"), "needed, where this machine has"),
        ("a.nrrd", nrrd(kind="block"), "numbers of the type 'block'"),
        ("a.nrrd", nrrd(sizes="7 6 6"), "is truncated"),
    ],
)
def test_what_no_image_has_is_refused_unread(tmp_path, monkeypatch, name, header, said):
    monkeypatch.setattr(sitk, "ReadImage", None)
    (tmp_path / name).write_bytes(header + VOXELS.tobytes())
    with pytest.raises(ReadError, match=rf"{name}.*{said}"):
        read_image([tmp_path / name])


@pytest.mark.parametrize(("header", "data"), [("a.mhd", "a.raw"), ("a.nhdr", "a.raw")])
def test_the_data_file_is_measured(tmp_path, header, data):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), tmp_path / header)
    assert check_header(tmp_path / header)
    content = (tmp_path / data).read_bytes()
    (tmp_path / data).write_bytes(content[:-1])
    with pytest.raises(ReadError, match=rf"{header} is truncated"):
        read_image([tmp_path / header])


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_a_packed_stream_is_read_to_its_end(tmp_path, name):
    """ITK reads what is there of a cut one; the last bytes are its checksum."""
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), tmp_path / name, True)
    np.testing.assert_array_equal(read_image([tmp_path / name]).array[0], VOXELS)
    content = (tmp_path / name).read_bytes()
    for missing in (1, 5, 30):
        (tmp_path / name).write_bytes(content[:-missing])
        with pytest.raises(ReadError, match=rf"{name} cannot be decompressed"):
            read_image([tmp_path / name])


@pytest.mark.parametrize("field", ["space", "endian", "kinds", "anything"])
def test_a_long_field_is_refused_where_it_would_end_the_process(tmp_path, field):
    header = nrrd().replace(b"sizes", f"{field}: {'9' * 1500}\nsizes".encode())
    (tmp_path / "a.nrrd").write_bytes(header + VOXELS.tobytes())
    with pytest.raises(ReadError, match=rf"a\.nrrd has a field '{field}' of 1,501 characters"):
        read_image([tmp_path / "a.nrrd"])


@pytest.mark.parametrize("line", ["# {}", "content: {}", "note:={}"])
def test_comments_content_and_pairs_may_be_long(tmp_path, line):
    header = nrrd().replace(b"sizes", line.format("9" * 20_000).encode() + b"\nsizes")
    (tmp_path / "a.nrrd").write_bytes(header + VOXELS.tobytes())
    np.testing.assert_array_equal(read_image([tmp_path / "a.nrrd"]).array[0], VOXELS)
