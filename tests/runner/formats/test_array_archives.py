"""NPZ and HDF5: one array, or an image and its mask by name; and NPY's axes."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from rareseg.errors import ReadError
from rareseg_runner.formats import carries_both, read_image, read_mask

RNG = np.random.default_rng(3)
PICTURE = RNG.integers(0, 256, (12, 15, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 3, (12, 15), dtype=np.uint8)


def write_npz(path, **arrays):
    np.savez(path, **arrays)


def write_hdf5(path, **arrays):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test-extras installs it")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array


KINDS = pytest.mark.parametrize(("suffix", "write"), [(".npz", write_npz), (".h5", write_hdf5)])


@KINDS
@pytest.mark.parametrize("names", [("image", "label"), ("IMG", "Mask"), ("data", "mask")])
def test_image_and_mask_lie_in_one_file(tmp_path, suffix, write, names):
    path = tmp_path / f"a{suffix}"
    write(path, **{names[0]: PICTURE, names[1]: LABELS, "spacing": np.ones(3)})
    assert carries_both(path)
    np.testing.assert_array_equal(read_image([path]).array[:, 0], np.moveaxis(PICTURE, -1, 0))
    np.testing.assert_array_equal(read_mask(path).array[0], LABELS)


@KINDS
def test_a_file_with_one_array_is_that_array(tmp_path, suffix, write):
    path = tmp_path / f"a{suffix}"
    write(path, anything=LABELS)
    assert not carries_both(path)
    np.testing.assert_array_equal(read_mask(path).array[0], LABELS)
    np.testing.assert_array_equal(read_image([path]).array[0, 0], LABELS)


@KINDS
def test_several_arrays_without_a_known_name_are_listed(tmp_path, suffix, write):
    path = tmp_path / f"a{suffix}"
    write(path, first=PICTURE, second=LABELS)
    with pytest.raises(ReadError, match=r"a\..* arrays first, second, .*image or img or data"):
        read_image([path])
    with pytest.raises(ReadError, match=r"a\..* arrays first, second, .*mask or label"):
        read_mask(path)


def test_groups_of_hdf5_are_looked_through(tmp_path):
    write_hdf5(tmp_path / "a.hdf5", case__image=PICTURE, case__label=LABELS)
    assert carries_both(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.hdf5").array[0], LABELS)


def test_an_array_of_hdf5_that_was_never_written_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test-extras installs it")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", (50, 50), "f4", chunks=(10, 10))
    with pytest.raises(ReadError, match=r"a\.h5 states the array .* holds none of its values"):
        read_image([tmp_path / "a.h5"])


def test_without_the_extra_the_line_to_type_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("rareseg_runner.formats.reader_guard.has_module", lambda _: False)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ReadError, match=r"a\.h5 is HDF5, .*pip install 'rareseg\[hdf5\]'\."):
        read_image([tmp_path / "a.h5"])


def test_nothing_is_unpickled_and_flipped_bytes_are_seen(tmp_path):
    np.savez(tmp_path / "o.npz", image=np.array([{"a": 1}], object))
    with pytest.raises(ReadError, match=r"o\.npz .*[Oo]bject"):
        read_image([tmp_path / "o.npz"])
    np.savez(tmp_path / "f.npz", image=PICTURE)
    content = bytearray((tmp_path / "f.npz").read_bytes())
    content[300] ^= 1
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(ReadError, match=r"f\.npz .*CRC"):
        read_image([tmp_path / "f.npz"])


def huge_npy() -> bytes:
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2000000, 2000000), }"
    head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + b"x" * 100


def test_a_stated_size_that_is_not_there_is_never_allocated(tmp_path):
    (tmp_path / "a.npy").write_bytes(huge_npy())
    with pytest.raises(ReadError, match=r"a\.npy .* states 32000000000000 bytes and 100 are there"):
        read_image([tmp_path / "a.npy"])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("image.npy", huge_npy())
    with pytest.raises(ReadError, match=r"a\.npz .* states 32000000000000 bytes"):
        read_image([tmp_path / "a.npz"])


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_last_axis_of_one_is_no_axis(tmp_path, suffix):
    save = np.save if suffix == ".npy" else np.savez
    save(tmp_path / f"m{suffix}", LABELS[..., None])
    assert read_mask(tmp_path / f"m{suffix}").array.shape == (1, 12, 15)
    assert read_image([tmp_path / f"m{suffix}"]).array.shape == (1, 1, 12, 15)
    volume = RNG.integers(0, 3, (6, 12, 15, 1), dtype=np.uint8)
    save(tmp_path / f"v{suffix}", volume)
    np.testing.assert_array_equal(read_mask(tmp_path / f"v{suffix}").array, volume[..., 0])
    assert read_image([tmp_path / f"v{suffix}"]).array.shape == (1, 6, 12, 15)
