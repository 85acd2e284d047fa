"""The guard around readers, and sizes that are checked before anything is allocated."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image
from rareseg_runner.formats.reader_guard import (
    PLAUSIBLE_BYTES,
    check_size,
    guarded,
    load_extra,
    reason,
)
from rareseg_runner.memory_limit import limited_to

PATH = Path("folder/a.png")


@pytest.mark.parametrize(
    "error",
    [
        struct.error("unpack requires 4 bytes"),
        zlib.error("invalid stored block lengths"),
        MemoryError(),
        IndexError("list index out of range"),
        RuntimeError("Exception thrown\n/build/itk.cxx:12:\nITK ERROR: Bad header.\n"),
        RecursionError("deep"),
    ],
)
def test_whatever_a_reader_raises_is_one_sentence_about_the_file(error):
    with pytest.raises(ReadError) as said, guarded(PATH, "PNG"):
        raise error
    assert re.fullmatch(
        r"folder/a\.png cannot be read as PNG \([^\n]+\): .*[^.]\.", str(said.value)
    )
    assert said.value.__cause__ is error


@pytest.mark.parametrize("error", [ReadError("a.png is odd."), NameError("x"), KeyboardInterrupt()])
def test_what_is_said_already_or_is_no_fault_of_the_file_passes(error):
    with pytest.raises(type(error)) as said, guarded(PATH, "PNG"):
        raise error
    assert said.value is error


def test_the_reason_is_the_last_line_without_a_source_position():
    assert reason(RuntimeError("x\n/itk.cxx:3:\nITK ERROR: No header. ")) == "No header"
    assert reason(MemoryError()) == "MemoryError"
    assert len(reason(ValueError("long " * 200))) == 200


def test_a_stated_size_is_compared_with_the_file_and_with_the_limit():
    check_size(PATH, (10, 20), 2, available=400)
    with pytest.raises(ReadError, match=r"a\.png is truncated: .* 10 × 20 .* 400 bytes and 399"):
        check_size(PATH, (10, 20), 2, available=399)
    with limited_to(4 << 20):
        check_size(PATH, (4 << 20,), 1)
        with pytest.raises(ReadError, match=r"a\.png states 4194305 values: .* allows 4 MiB"):
            check_size(PATH, ((4 << 20) + 1,), 1)


def test_a_small_file_states_no_more_than_it_could_hold(tmp_path):
    (tmp_path / "a.tif").write_bytes(bytes(1000))
    with limited_to(100 << 30):
        check_size(tmp_path / "a.tif", (PLAUSIBLE_BYTES,), 1)
        check_size(tmp_path / "a.tif", (PLAUSIBLE_BYTES + 1,), 1, is_measured=True)
        with pytest.raises(ReadError, match=r"a\.tif states .* which no file of 1000 bytes holds"):
            check_size(tmp_path / "a.tif", (PLAUSIBLE_BYTES + 1,), 1)


def test_an_extra_that_is_not_installed_is_named_with_the_line_to_type():
    with pytest.raises(ReadError, match=r"a\.png is Zarr, .*: pip install 'rareseg\[zarr\]'\.$"):
        load_extra("no_such_module_anywhere", "zarr", PATH, "Zarr")
    assert load_extra("json", "zarr", PATH, "Zarr").loads("1") == 1


def test_a_picture_that_states_more_than_is_read_at_once_is_refused_unread(tmp_path):
    """60,000 × 60,000 colours in 100 bytes: nothing is decompressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        total = struct.pack(">I", len(content)) + kind + content
        return total + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(ReadError, match=r"bomb\.png states 3 × 60000 × 60000 values, 10\.1 GiB"):
        read_image([tmp_path / "bomb.png"])
