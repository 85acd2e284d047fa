"""What may be taken of the memory is known, and every reader asks before it takes it."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import tifffile

from rareseg.data.case_files import jobs_within, largest_case, read_case_image
from rareseg.data.checks.copies_between import compare_cases
from rareseg.data.records import Case
from rareseg.errors import ReadError, UsageError
from rareseg_runner.formats import read_image
from rareseg_runner.formats.npy import parse_npy
from rareseg_runner.image_records import Image
from rareseg_runner.memory_limit import (
    available_memory,
    limited_to,
    parse_size,
    refusal,
    stated_limit,
    within,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("500 mb", 5 * 10**8),
        ("1.5GiB", 3 << 29),
        ("2TB", 2 * 10**12),
        ("1048576", 1 << 20),
        ("4096KiB", 4 << 20),
    ],
)
def test_sizes_are_read_in_words(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "4", "GB", "-4GB", "4 gigs", "4iB", "1e9", "nanGB", "9" * 40])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory is"):
        parse_size(text)


def test_the_limit_holds_within_the_block_and_in_the_work_of_others() -> None:
    assert stated_limit() is None
    with limited_to(2 << 20):
        assert refusal(2 << 20) is None
        assert "where --memory allows 2 MiB" in (refusal((2 << 20) + 1) or "")
    assert stated_limit() is None
    assert within(5 << 20, stated_limit) == 5 << 20


def test_without_a_word_the_machine_says_it() -> None:
    assert 0 < available_memory() < 1 << 50
    assert refusal(1 << 20) is None
    assert "where this machine has" in (refusal(1 << 60) or "")


def test_the_smallest_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container of 1 GiB on a large machine; 700 MiB are used, and 200 of these are cached."""
    proc, group = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:   67108864 kB\n")
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    (group / "a" / "b").mkdir(parents=True)
    (group / "a" / "memory.max").write_text(f"{1 << 30}\n")
    (group / "a" / "memory.current").write_text(f"{700 << 20}\n")
    (group / "a" / "memory.stat").write_text(f"anon 1\ninactive_file {200 << 20}\n")
    (group / "a" / "b" / "memory.max").write_text("max\n")
    (group / "a" / "b" / "memory.current").write_text(f"{700 << 20}\n")
    monkeypatch.setattr("rareseg_runner.memory_limit._PROC", proc)
    monkeypatch.setattr("rareseg_runner.memory_limit._CGROUP", group)
    assert available_memory() == (1 << 30) - (500 << 20)
    (proc / "self" / "cgroup").write_text("5:cpu,memory:/job\n0::/\n")
    (group / "memory" / "job").mkdir(parents=True)
    (group / "memory" / "job" / "memory.limit_in_bytes").write_text(f"{64 << 20}\n")
    (group / "memory" / "job" / "memory.usage_in_bytes").write_text(f"{60 << 20}\n")
    assert available_memory() == 4 << 20


SIDE = 1500
GREY = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)


def write_npz(path: Path) -> None:
    np.savez_compressed(path, image=GREY)


def write_hdf5(path: Path) -> None:
    hdf5 = pytest.importorskip("h5py")
    with hdf5.File(path, "w") as file:
        file.create_dataset("image", data=GREY, compression="gzip")


def write_dicom(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(GREY), str(path))


def write_itk(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(GREY[None]), str(path), True)


def write_slices(path: Path) -> None:
    path.mkdir()
    for number in range(3):
        PIL.Image.fromarray(GREY[: SIDE // 2].astype(np.uint8)).save(path / f"{number}.png")


WRITERS = {
    "a.png": lambda path: PIL.Image.fromarray(GREY).save(path),
    "a.pgm": lambda path: PIL.Image.new("L", (3000, 1500)).save(path),
    "a.jpg": lambda path: PIL.Image.new("L", (3000, 1500)).save(path),
    "a.tif": lambda path: tifffile.imwrite(path, GREY, compression="zlib"),
    "a.npy": lambda path: np.save(path, GREY),
    "a.npz": write_npz,
    "a.h5": write_hdf5,
    "a.nii": lambda path: nibabel.save(nibabel.Nifti1Image(GREY[..., None], np.eye(4)), path),
    "a.nii.gz": lambda path: nibabel.save(nibabel.Nifti1Image(GREY[..., None], np.eye(4)), path),
    "a.nrrd": write_itk,
    "a.mha": write_itk,
    "a.dcm": write_dicom,
    "a": write_slices,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_reader_keeps_the_limit(name: str, tmp_path: Path) -> None:
    """4.5 MB of values: read where 5 MiB are allowed, refused where 2 MiB are."""
    path = tmp_path / name
    WRITERS[name](path)
    with limited_to(5 << 20):
        assert read_image([path]).array.size >= SIDE * SIDE // 2
    with limited_to(2 << 20), pytest.raises(ReadError) as caught:
        read_image([path])
    said = str(caught.value)
    assert "are needed, where --memory allows 2 MiB" in said, said
    assert str(path) in said
    assert "allow more" in said


@pytest.mark.parametrize("name", WRITERS)
def test_every_reader_tells_its_size_before_it_reads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    values = read_image([path]).array.nbytes
    told = largest_case([Case("a", (path,), None)])
    if path.is_dir():  # what its files hold, packed
        assert 0 < told < values
        return
    assert values <= told <= 2 * values
    with limited_to(1 << 20):  # nothing is refused, as nothing is allocated
        assert largest_case([Case("a", (path,), None)]) == told


def test_a_file_that_cannot_be_read_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert largest_case([Case("a", (tmp_path / "a.png", tmp_path / "b.png"), None)]) == 0
    assert largest_case([]) == 0


def test_so_many_jobs_as_fit_are_done_at_a_time() -> None:
    with limited_to(10 << 20):
        assert [jobs_within(size << 20, 8) for size in (1, 2, 3, 5, 6, 11)] == [8, 5, 3, 2, 1, 1]
        assert jobs_within(0, 8) == 8
        assert jobs_within(9 << 20, -1) == 1
    assert jobs_within(1 << 60, 8) == 1
    assert jobs_within(1 << 20, 2) == 2


@pytest.mark.parametrize(("allowed", "together"), [("5MiB", 1), ("500MiB", 2)])
def test_images_are_read_at_a_time_as_they_fit(
    allowed: str, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4.5 MB each one is read at a time where 5 MiB are allowed; each waits for a second."""
    at_work: list[int] = []
    most: list[int] = []
    second = threading.Event()

    def read(case: Case) -> Image:
        at_work.append(1)
        most.append(len(at_work))
        if len(at_work) > 1:
            second.set()
        second.wait(0.2)
        at_work.pop()
        return read_case_image(case)

    cases = []
    for number in range(4):
        path = tmp_path / f"{number}.npy"
        np.save(path, GREY + np.uint16(number))
        cases.append(Case(str(number), (path,), None))
    monkeypatch.setattr("rareseg.data.checks.copies_between.read_case_image", read)
    with limited_to(parse_size(allowed)):
        compare_cases(cases, jobs=2)
    assert max(most) == together


def test_a_strip_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    """A strip of 64 values by its tags, behind which 64 MB of zeros are packed."""
    import zlib

    path = tmp_path / "a.tif"
    packed = zlib.compress(bytes(64 << 20), 9)
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.tags["StripOffsets"], page.tags["StripByteCounts"]
        places = (offset.valueoffset, count.valueoffset, count.dtype)
    content = bytearray(path.read_bytes())
    start = len(content)
    content += packed
    content[places[0] : places[0] + 4] = start.to_bytes(4, "little")
    size = 2 if places[2] == tifffile.DATATYPE.SHORT else 4
    stated = min(len(packed), 2 ** (8 * size) - 1)
    content[places[1] : places[1] + size] = stated.to_bytes(size, "little")
    path.write_bytes(content)
    with limited_to(16 << 20), pytest.raises(ReadError, match="unpacks to more than 64 bytes"):
        read_image([path])


def test_an_archive_that_states_what_it_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory of a zip says 4 GB of an array of 200 bytes."""
    monkeypatch.setattr("rareseg_runner.formats.array_archives.PLAUSIBLE_BYTES", 1 << 20)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, image=np.zeros((8, 8), np.uint8))
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].file_size
    content = path.read_bytes()
    assert content.count(size.to_bytes(4, "little")) >= 1
    lied = content.replace(size.to_bytes(4, "little"), (0xFFFFFFF0).to_bytes(4, "little"))
    path.write_bytes(lied)
    with pytest.raises(ReadError, match=r"a\.npz states 4 GiB of image\.npy"):
        read_image([path])


def test_an_array_of_objects_is_still_no_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}] * 4, object).reshape(2, 2), allow_pickle=True)
    with path.open("rb") as stream, pytest.raises(ValueError, match="allow_pickle"):
        parse_npy(stream)


def test_commands_take_the_limit(call, tmp_path: Path) -> None:
    for name, top in (("images", 255), ("masks", 1)):
        (tmp_path / name).mkdir()
        for number in range(3):
            values = (np.indices((1100, 1100)).sum(0) + number) % (top + 1)
            PIL.Image.fromarray(values.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    refused = call("inspect", tmp_path, "--memory", "1.1MB")
    assert refused.code == 1
    assert "1.2 MiB are needed, where --memory allows 1 MiB" in refused.out + refused.err
    assert call("inspect", tmp_path, "--memory", "soon").code == 2
