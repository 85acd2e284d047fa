"""Damaged, lying and odd files, each with the words of its refusal or the values that are right.

To add one, add a line to :data:`FILES`: its name, a function that makes the bytes, and what is
right. What every format has in common (empty, cut, another content) is made of the register.
"""

from __future__ import annotations

import importlib
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import tifffile

from corpus.smallest import (
    GREY,
    MASK,
    Files,
    as_gif,
    as_npy,
    as_npz,
    as_segmentation,
    as_structure_set,
    as_tiff,
    by_pillow,
    bz,
    chunk,
    gz,
    mha,
    nifti,
    npy_stating,
    nrrd,
    packed_rows,
    png,
    smallest,
    stack,
)
from rareseg_runner.formats import formats

Right = str | np.ndarray | None
"""The words of the refusal, as a regular expression; or the values; None: either, but no crash."""


@dataclass(frozen=True)
class FaultyFile:
    """One file of the corpus. ``make`` returns its content, or the contents of several by name."""

    name: str
    make: Callable[[], bytes | Files]
    right: Right
    role: str = "image"
    needs: str = ""
    """The module of an extra that reads it, and may be what makes it."""

    @property
    def is_refused(self) -> bool:
        return isinstance(self.right, str)

    def files(self) -> Files:
        """Return contents by name, the file itself first."""
        made = self.make()
        return {self.name: made} if isinstance(made, bytes) else made


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n" * 9
ANY_WORDS = r"."
CUT = r"truncated|damaged|end|cut|missing|bytes|there|empty"


def _of_every_format() -> Iterator[FaultyFile]:
    """Empty, cut, filled with zeros, another content: for every suffix that is registered."""
    for form in formats():
        for suffix in form.suffixes:
            end, role = suffix.replace(".", "_"), "mask" if form.masks_only else "image"
            needs = "" if form.needs is None else form.needs[0]
            one = partial(FaultyFile, role=role, needs=needs)
            yield one(f"empty{end}{suffix}", lambda: b"", ANY_WORDS)
            yield one(f"postscript{end}{suffix}", lambda: POSTSCRIPT, ANY_WORDS)
            for share in (0.1, 0.6, 0.97):
                name = f"cut{int(100 * share)}{end}"
                yield one(name + suffix, partial(_cut, suffix, name, share), CUT)
            name = f"zeros{end}"
            yield one(name + suffix, partial(_zeros, suffix, name), ANY_WORDS)


def _cut(suffix: str, stem: str, share: float) -> Files:
    """Cut the file that holds the values, which is the last."""
    files = dict(smallest(suffix, stem=stem))
    last = list(files)[-1]
    files[last] = files[last][: int(share * len(files[last]))]
    return files


def _zeros(suffix: str, stem: str) -> Files:
    files = dict(smallest(suffix, stem=stem))
    name = next(iter(files))
    return files | {name: bytes(len(files[name]))}


def flipped(content: bytes, *places: int) -> bytes:
    """Return content with all bits of some bytes turned."""
    damaged = bytearray(content)
    for place in places:
        damaged[place] ^= 255
    return bytes(damaged)


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return content with one part replaced; it must be there."""
    assert old in content, old
    return content.replace(old, new, 1)


def _tag(content: bytes, tag: int, *, kind: int | None = None, count: int | None = None) -> int:
    """Return where a tag's entry of the first page of a little-endian TIFF begins."""
    (page,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, page)
    for number in range(tags):
        at = page + 2 + 12 * number
        if struct.unpack_from("<H", content, at)[0] == tag:
            return at
    raise AssertionError(f"no tag {tag}")


def tiff_stating(tag: int, value: int, **options: object) -> bytes:
    """Return a TIFF with another value of a tag."""
    content = bytearray(as_tiff(GREY, **options))
    at = _tag(bytes(content), tag)
    (kind,) = struct.unpack_from("<H", content, at + 2)
    struct.pack_into("<H" if kind == 3 else "<I", content, at + 8, value)
    return bytes(content)


def tiff_of_pages(*pages: np.ndarray, **options: object) -> bytes:
    """Return a TIFF of several pictures."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in pages:
            writer.write(page, metadata=None, **options)
    return stream.getvalue()


def tiff_loop(pages: int = 1, back_to: int = 0) -> bytes:
    """Return a TIFF whose last page names an earlier one, or itself, as the next."""
    content = bytearray(tiff_of_pages(*[np.roll(GREY, shift) for shift in range(pages)]))
    at, places = 4, []
    for _ in range(pages):
        places.append(struct.unpack_from("<I", content, at)[0])
        (tags,) = struct.unpack_from("<H", content, places[-1])
        at = places[-1] + 2 + 12 * tags
    struct.pack_into("<I", content, at, places[back_to])
    return bytes(content)


def tiff_empty_loop() -> bytes:
    """Return a TIFF whose second page has no tags, and names itself as the next: tifffile hung."""
    content = bytearray(tiff_of_pages(GREY))
    content += bytes(len(content) % 2)
    end = len(content)
    (page,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, page)
    struct.pack_into("<I", content, page + 2 + 12 * tags, end)
    return bytes(content) + struct.pack("<HI", 0, end)


def animation(suffix: str) -> bytes:
    """Return two frames in one file."""
    stream = io.BytesIO()
    frames = [PIL.Image.fromarray(np.roll(GREY, shift)) for shift in (0, 5)]
    form = suffix.lstrip(".").upper()
    frames[0].save(stream, form, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def archive(**members: bytes) -> bytes:
    """Return a ZIP file of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return stream.getvalue()


class Started:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.mkdir, ("unpickled",)


def pickled() -> bytes:
    """Return an NPY file of objects that would run a command."""
    return npy_stating("'|O'", "(1,)", pickle.dumps(np.array([Started()], object)))


def heads(kind: str, value: float) -> bytes:
    return struct.pack("<" + kind, value)


_BITS = np.tile(np.arange(4, dtype=np.uint8), (4, 4))
_NIBBLES = np.tile(np.arange(16, dtype=np.uint8), (4, 1))

PICTURES = (
    FaultyFile(
        "huge_sides.png",
        lambda: replaced(
            png(16, 12, 8, packed_rows(GREY, 8)),
            png(16, 12, 8, b"")[8:33],
            png(2**30, 2**30, 8, b"")[8:33],
        ),
        "GiB",
    ),
    FaultyFile("checksum.png", lambda: flipped(smallest(".png")["whole.png"], 45), "checksum|read"),
    FaultyFile("no_end.png", lambda: png(16, 12, 8, packed_rows(GREY, 8), end=False), CUT),
    FaultyFile("few_rows.png", lambda: png(16, 12, 8, packed_rows(GREY[:5], 8)), CUT + "|read"),
    FaultyFile("no_sides.png", lambda: png(0, 12, 8, b""), ANY_WORDS),
    FaultyFile(
        "bits_3.png",
        lambda: replaced(
            png(16, 12, 8, packed_rows(GREY, 8)),
            png(16, 12, 8, b"")[8:33],
            png(16, 12, 3, b"")[8:33],
        ),
        ANY_WORDS,
    ),
    FaultyFile("two_bits.png", lambda: png(16, 4, 2, packed_rows(_BITS, 2)), _BITS, "mask"),
    FaultyFile("four_bits.png", lambda: png(16, 4, 4, packed_rows(_NIBBLES, 4)), _NIBBLES, "mask"),
    FaultyFile("one_bit.png", lambda: png(16, 12, 1, packed_rows(MASK, 1)), MASK, "mask"),
    FaultyFile(
        "palette.png",
        lambda: png(
            16, 4, 4, packed_rows(_NIBBLES, 4), colour=3, between=chunk(b"PLTE", bytes(range(48)))
        ),
        _NIBBLES,
        "mask",
    ),
    FaultyFile(
        "no_palette.png", lambda: png(16, 4, 4, packed_rows(_NIBBLES, 4), colour=3), None, "mask"
    ),
    FaultyFile(
        "text_bomb.png",
        lambda: png(
            *(16, 12, 8, packed_rows(GREY, 8)),
            between=chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(32 << 20))),
        ),
        None,
    ),
    FaultyFile("jpeg_called.png", lambda: by_pillow(".jpg", GREY), "lossy", "mask"),
    FaultyFile("animated.png", lambda: animation(".png"), "animation"),
    FaultyFile("animated.gif", lambda: animation(".gif"), "animation"),
    FaultyFile("animated.webp", lambda: animation(".webp"), "animation"),
    FaultyFile(
        "huge_sides.jpg",
        lambda: replaced(
            by_pillow(".jpg", GREY),
            b"\x08" + struct.pack(">HH", 12, 16),
            b"\x08" + struct.pack(">HH", 65535, 65535),
        ),
        CUT + "|GiB|read",
    ),
    FaultyFile(
        "no_sides.jpg",
        lambda: replaced(
            by_pillow(".jpg", GREY), b"\x08" + struct.pack(">HH", 12, 16), b"\x08" + bytes(4)
        ),
        ANY_WORDS,
    ),
    FaultyFile("huge_sides.bmp", lambda: _bmp(18, "<i", 2**30), CUT + "|GiB"),
    FaultyFile("negative_sides.bmp", lambda: _bmp(18, "<i", -16), ANY_WORDS),
    FaultyFile("no_bits.bmp", lambda: _bmp(28, "<H", 0), ANY_WORDS),
    FaultyFile("start_beyond.bmp", lambda: _bmp(10, "<I", 2**31), CUT + "|read"),
    FaultyFile("packing.bmp", lambda: _bmp(30, "<I", 77), ANY_WORDS),
    FaultyFile(
        "huge_sides.gif",
        lambda: as_gif(GREY)[:6] + struct.pack("<HH", 65535, 65535) + as_gif(GREY)[10:],
        None,
    ),
    FaultyFile(
        "huge_sides.jp2",
        lambda: _jp2(struct.pack(">II", 16, 12), struct.pack(">II", 2**31 - 1, 2**31 - 1)),
        ANY_WORDS,
    ),
    FaultyFile("huge_sides.pgm", lambda: b"P5 999999999 999999999 255\n" + bytes(50), ANY_WORDS),
    FaultyFile("no_largest.pgm", lambda: b"P5 5 5 0\n" + bytes(25), "255|65535|0"),
    FaultyFile("words.pgm", lambda: b"P2 2 2 9\n1 two 3 4\n", ANY_WORDS),
    FaultyFile("minus.pgm", lambda: b"P2 2 2 9\n1 -2 3 4\n", ANY_WORDS),
    FaultyFile("too_large.pgm", lambda: b"P2 2 2 9\n1 99999999999999999999 3 4\n", ANY_WORDS),
)


def _bmp(at: int, kind: str, value: int) -> bytes:
    content = bytearray(by_pillow(".bmp", GREY))
    struct.pack_into(kind, content, at, value)
    return bytes(content)


def _jp2(old: bytes, new: bytes) -> bytes:
    content = by_pillow(".j2k", GREY)
    return replaced(content, old, new)


TIFFS = (
    FaultyFile("huge_sides.tif", lambda: tiff_stating(256, 2**31 - 1), "GiB|" + CUT),
    FaultyFile("huge_rows.tif", lambda: tiff_stating(257, 65000), CUT),
    FaultyFile("bits_7.tif", lambda: tiff_stating(258, 7), ANY_WORDS, "mask"),
    FaultyFile("no_bits.tif", lambda: tiff_stating(258, 0), ANY_WORDS),
    FaultyFile("packing.tif", lambda: tiff_stating(259, 777), ANY_WORDS),
    FaultyFile("no_samples.tif", lambda: tiff_stating(277, 0), None),
    FaultyFile("many_samples.tif", lambda: tiff_stating(277, 60000), ANY_WORDS),
    FaultyFile("start_beyond.tif", lambda: tiff_stating(273, 2**31), CUT + "|beyond"),
    FaultyFile("long_strip.tif", lambda: tiff_stating(279, 2**31), CUT + "|beyond"),
    FaultyFile("loop.tif", tiff_loop, "breaks off|" + CUT),
    FaultyFile("loop_empty.tif", tiff_empty_loop, "breaks off|" + CUT),
    FaultyFile("loop_back.tif", lambda: tiff_loop(3, back_to=1), "breaks off|" + CUT),
    FaultyFile(
        "packed_damaged.tif", lambda: flipped(as_tiff(GREY, compression="zlib"), -5, -20), ANY_WORDS
    ),
    FaultyFile("lzw_damaged.tif", lambda: flipped(as_tiff(GREY), 8, 9) + b"x", None),
    FaultyFile("thumbnail_first.tif", lambda: tiff_of_pages(GREY[::4, ::4], GREY), GREY),
    FaultyFile("two_pictures.tif", lambda: tiff_of_pages(GREY, GREY.astype(np.uint16)), "pictures"),
    FaultyFile("cut_stack.tif", lambda: as_tiff(stack(GREY))[:-60], CUT + "|beyond|breaks"),
    FaultyFile(
        "many_slices.tif",
        lambda: replaced(
            as_tiff(stack(GREY), imagej=True, metadata={"axes": "ZYX"}),
            b"images=4\n",
            b"images=9\n",
        ),
        "notes|slices",
    ),
    FaultyFile(
        "cut_imagej.tif",
        lambda: as_tiff(stack(GREY), imagej=True, metadata={"axes": "ZYX"})[:-60],
        ANY_WORDS,
    ),
    FaultyFile(
        "shaped.tif",
        lambda: replaced(as_tiff(stack(GREY)), b'"shape": [4, 12, 16]', b'"shape": [9, 12, 16]'),
        ANY_WORDS,
    ),
    FaultyFile(
        "ome_lies.ome.tif",
        lambda: replaced(
            as_tiff(stack(GREY), ome=True, metadata={"axes": "ZYX"}), b'SizeZ="4"', b'SizeZ="9"'
        ),
        None,
    ),
    FaultyFile("big.tif", lambda: as_tiff(GREY, bigtiff=True), GREY),
    FaultyFile("big_cut.tif", lambda: as_tiff(GREY, bigtiff=True)[:-40], CUT + "|beyond"),
    FaultyFile("nan.tif", lambda: as_tiff(np.full((12, 16), np.nan, np.float32)), None),
    FaultyFile("complex.tif", lambda: as_tiff(GREY.astype(np.complex64)), "complex"),
)
_DIM, _TYPE, _PIXDIM, _OFFSET, _SLOPE = 40, 70, 76, 108, 112
VOLUMES = (
    FaultyFile("nan_start.nii", lambda: nifti(changes={_OFFSET: heads("f", np.nan)}), "begin"),
    FaultyFile("inf_start.nii", lambda: nifti(changes={_OFFSET: heads("f", np.inf)}), "begin"),
    FaultyFile("minus_start.nii", lambda: nifti(changes={_OFFSET: heads("f", -9.0)}), "begin"),
    FaultyFile("start_beyond.nii", lambda: nifti(changes={_OFFSET: heads("f", 1e9)}), CUT),
    FaultyFile("start_far.nii", lambda: nifti(changes={_OFFSET: heads("f", 1e30)}), ANY_WORDS),
    FaultyFile("no_axes.nii", lambda: nifti(changes={_DIM: heads("h", 0)}), "size"),
    FaultyFile("axes_100.nii", lambda: nifti(changes={_DIM: heads("h", 100)}), "size"),
    FaultyFile("minus_axes.nii", lambda: nifti(changes={_DIM: heads("h", -3)}), "size"),
    FaultyFile("no_size.nii", lambda: nifti(changes={_DIM + 2: heads("h", 0)}), "size"),
    FaultyFile("minus_size.nii", lambda: nifti(changes={_DIM + 2: heads("h", -16)}), "size"),
    FaultyFile(
        "huge.nii",
        lambda: nifti(changes={_DIM: struct.pack("<8h", 7, *[32767] * 7)}),
        "GiB|" + CUT,
    ),
    FaultyFile("type_999.nii", lambda: nifti(changes={_TYPE: heads("h", 999)}), "type"),
    FaultyFile("complex.nii", lambda: nifti(changes={_TYPE: heads("h", 32)}), "complex"),
    FaultyFile(
        "nan_frame.nii",
        lambda: nifti(changes={280: struct.pack("<12f", *[np.nan] * 12), 254: heads("h", 1)}),
        None,
    ),
    FaultyFile(
        "flat_frame.nii",
        lambda: nifti(changes={280: bytes(48), 254: heads("h", 1), 252: heads("h", 0)}),
        None,
    ),
    FaultyFile(
        "no_spacing.nii",
        lambda: nifti(changes={_PIXDIM: struct.pack("<4f", 1, 0, np.nan, -1), 252: bytes(4)}),
        None,
    ),
    FaultyFile("nan_slope.nii", lambda: nifti(changes={_SLOPE: heads("f", np.nan)}), stack(GREY)),
    FaultyFile("no_magic.nii", lambda: nifti(changes={344: b"\0\0\0\0"}), "NIfTI"),
    FaultyFile("header_size.nii", lambda: nifti(changes={0: heads("i", 0)}), "NIfTI"),
    FaultyFile("extension.nii", lambda: nifti(changes={348: b"\1\0\0\0"}), None),
    FaultyFile("packed_called.nii", lambda: gz(nifti()), None),
    FaultyFile("plain_called.nii.gz", lambda: nifti(), None),
    FaultyFile("cut.nii.gz", lambda: gz(nifti())[:-12], CUT),
    FaultyFile("checksum.nii.gz", lambda: flipped(gz(nifti()), -6), "CRC|damaged|check"),
    FaultyFile("length.nii.gz", lambda: flipped(gz(nifti()), -2), "length|damaged"),
    FaultyFile("middle.nii.gz", lambda: flipped(gz(nifti()), 60, 61, 62), "damaged|CRC"),
    FaultyFile("bomb.nii.gz", lambda: gz(nifti() + bytes(64 << 20)), None),
    FaultyFile(
        "no_data.hdr", lambda: {"no_data.hdr": smallest(".hdr")["whole.hdr"]}, "beside|data"
    ),
    FaultyFile("axes_100.nrrd", lambda: nrrd({"dimension": "100"}), "axes"),
    FaultyFile("huge.nrrd", lambda: nrrd({"sizes": "99999 99999 99999"}), "GiB|" + CUT),
    FaultyFile("no_sizes.nrrd", lambda: nrrd({"sizes": None}), "axes|sizes"),
    FaultyFile("words.nrrd", lambda: nrrd({"sizes": "a b c"}), "axes|sizes"),
    FaultyFile("minus.nrrd", lambda: nrrd({"sizes": "-16 12 4"}), "axes|sizes"),
    FaultyFile("type.nrrd", lambda: nrrd({"type": "quaternion"}), "type"),
    FaultyFile("block.nrrd", lambda: nrrd({"type": "block", "block size": "9"}), "type"),
    FaultyFile("encoding.nrrd", lambda: nrrd({"encoding": "morse"}), ANY_WORDS),
    FaultyFile("raw_called_gz.nrrd", lambda: nrrd({"encoding": "gzip"}), "decompress|" + CUT),
    FaultyFile(
        "gz_cut.nrrd", lambda: nrrd({"encoding": "gzip"}, gz(stack(GREY).tobytes())[:-20]), CUT
    ),
    FaultyFile("bz2.nrrd", lambda: nrrd({"encoding": "bzip2"}, bz(stack(GREY).tobytes())), None),
    FaultyFile("text.nrrd", lambda: nrrd({"encoding": "ascii"}, b"1 2 3"), ANY_WORDS),
    FaultyFile("skip.nrrd", lambda: nrrd({"byte skip": "99999999"}), ANY_WORDS),
    FaultyFile("skip_minus.nrrd", lambda: nrrd({"byte skip": "-99999999"}), ANY_WORDS),
    FaultyFile("skip_lines.nrrd", lambda: nrrd({"line skip": "99999999"}), ANY_WORDS),
    FaultyFile("outside.nrrd", lambda: nrrd({"data file": "../../../etc/passwd"}, b""), ANY_WORDS),
    FaultyFile("list.nrrd", lambda: nrrd({"data file": "LIST"}, b"a\nb\n"), ANY_WORDS),
    FaultyFile("pattern.nrrd", lambda: nrrd({"data file": "%d.raw 1 999999999 1"}, b""), ANY_WORDS),
    FaultyFile(
        "nan_frame.nrrd",
        lambda: nrrd({"space": "LPS", "space directions": "(nan,0,0) (0,nan,0) (0,0,nan)"}),
        None,
    ),
    FaultyFile(
        "flat_frame.nrrd",
        lambda: nrrd({"space": "LPS", "space directions": "(0,0,0) (0,0,0) (0,0,0)"}),
        None,
    ),
    FaultyFile("axes_100.mha", lambda: mha({"NDims": "100"}), "axes"),
    FaultyFile("huge.mha", lambda: mha({"DimSize": "99999 99999 99999"}), "GiB|" + CUT),
    FaultyFile("no_sizes.mha", lambda: mha({"DimSize": None}), "axes|sizes"),
    FaultyFile("few_sizes.mha", lambda: mha({"DimSize": "16 12"}), "axes|sizes"),
    FaultyFile("minus.mha", lambda: mha({"DimSize": "-16 12 4"}), "axes|sizes"),
    FaultyFile("type.mha", lambda: mha({"ElementType": "MET_OTHER"}), "type"),
    FaultyFile("channels.mha", lambda: mha({"ElementNumberOfChannels": "999999"}), "GiB|" + CUT),
    FaultyFile("packed.mha", lambda: mha({"CompressedData": "True"}), "decompress|" + CUT),
    FaultyFile("header_size.mha", lambda: mha({"HeaderSize": "99999999"}), ANY_WORDS),
    FaultyFile("nan_spacing.mha", lambda: mha({"ElementSpacing": "nan nan nan"}), None),
    FaultyFile("no_spacing.mha", lambda: mha({"ElementSpacing": "0 0 0"}), None),
    FaultyFile("words_spacing.mha", lambda: mha({"ElementSpacing": "a b c"}), None),
    FaultyFile("flat_frame.mha", lambda: mha({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}), None),
    FaultyFile("elsewhere.mhd", lambda: mha({"ElementDataFile": "nowhere.raw"}, b""), ANY_WORDS),
    FaultyFile(
        "outside.mhd", lambda: mha({"ElementDataFile": "../../../etc/passwd"}, b""), ANY_WORDS
    ),
    FaultyFile("list.mhd", lambda: mha({"ElementDataFile": "LIST"}, b"a\nb\n"), ANY_WORDS),
    FaultyFile("no_local.mha", lambda: mha({"ElementDataFile": ""}), ANY_WORDS),
    FaultyFile(
        "huge.mgh",
        lambda: _mgh(4, ">3i", 99999, 99999, 99999),
        "GiB|" + CUT,
    ),
    FaultyFile("minus.mgh", lambda: _mgh(4, ">3i", -16, 12, 4), ANY_WORDS),
    FaultyFile("type.mgh", lambda: _mgh(20, ">i", 77), ANY_WORDS),
    FaultyFile("version.mgh", lambda: _mgh(0, ">i", 9), ANY_WORDS),
    FaultyFile("nan_frame.mgh", lambda: _mgh(30, ">3f", np.nan, np.nan, np.nan), None),
    FaultyFile("rows.dcm", lambda: _dicom(b"\x28\0\x10\0\2\0\0\0", struct.pack("<H", 65535)), CUT),
    FaultyFile("without_word.dcm", lambda: smallest(".dcm")["whole.dcm"][132:], None),
    FaultyFile(
        "huge_element.dcm",
        lambda: b"\x08\0\x55\x11OB\0\0" + struct.pack("<I", 2**31 - 1) + bytes(300),
        "states 2147483647 bytes",
    ),
    FaultyFile("bits.dcm", lambda: _dicom(b"\x28\0\0\1\2\0\0\0", struct.pack("<H", 77)), ANY_WORDS),
    FaultyFile(
        "no_samples.dcm", lambda: _dicom(b"\x28\0\2\0\2\0\0\0", struct.pack("<H", 0)), ANY_WORDS
    ),
)


def _mgh(at: int, kind: str, *values: float) -> bytes:
    content = bytearray(smallest(".mgh")["whole.mgh"])
    struct.pack_into(kind, content, at, *values)
    return bytes(content)


def _dicom(element: bytes, value: bytes) -> bytes:
    content = smallest(".dcm")["whole.dcm"]
    at = content.index(element) + len(element)
    return content[:at] + value + content[at + len(value) :]


ARRAYS = (
    FaultyFile("huge.npy", lambda: npy_stating("'<f8'", "(2000000, 2000000)"), "bytes"),
    FaultyFile("minus.npy", lambda: npy_stating("'<f8'", "(-5, 5)"), ANY_WORDS),
    FaultyFile("huge_minus.npy", lambda: npy_stating("'<f8'", "(-1, -1000000)"), ANY_WORDS),
    FaultyFile("words.npy", lambda: npy_stating("'<f8'", "('a', 5)"), ANY_WORDS),
    FaultyFile("nothing.npy", lambda: npy_stating("'|u1'", "(0, 5)"), ANY_WORDS),
    FaultyFile("scalar.npy", lambda: npy_stating("'|u1'", "()"), ANY_WORDS),
    FaultyFile("axes_40.npy", lambda: npy_stating("'|u1'", str((1,) * 40)), ANY_WORDS),
    FaultyFile("text.npy", lambda: npy_stating("'<U4'", "(2, 3)"), ANY_WORDS),
    FaultyFile("structure.npy", lambda: npy_stating("[('a', '<f4')]", "(5, 5)"), ANY_WORDS),
    FaultyFile("no_width.npy", lambda: npy_stating("'|S0'", "(5, 5)"), ANY_WORDS),
    FaultyFile("dates.npy", lambda: npy_stating("'<M8[s]'", "(3, 4)"), ANY_WORDS),
    FaultyFile("brackets.npy", lambda: npy_stating("(" * 3000, "(3, 4)"), ANY_WORDS),
    FaultyFile("version.npy", lambda: npy_stating("'|u1'", "(3, 4)", version=9), ANY_WORDS),
    FaultyFile("complex.npy", lambda: as_npy(GREY.astype(complex)), ANY_WORDS),
    FaultyFile("turned.npy", lambda: as_npy(np.asfortranarray(GREY)), GREY),
    FaultyFile("big_endian.npy", lambda: as_npy(GREY.astype(">u2")), GREY),
    FaultyFile("pickled.npy", pickled, "object|pickle"),
    FaultyFile("pickled.npz", lambda: archive(image__npy=pickled()), "object|pickle"),
    FaultyFile("no_arrays.npz", lambda: archive(), ANY_WORDS),
    FaultyFile("text.npz", lambda: archive(readme__txt=b"hello"), ANY_WORDS),
    FaultyFile("two.npz", lambda: as_npz(a=GREY, b=GREY), ANY_WORDS),
    FaultyFile(
        "checksum.npz", lambda: flipped(as_npz(image=GREY), 120), "CRC|damaged|decompress|check"
    ),
    FaultyFile("huge.npz", lambda: archive(image__npy=npy_stating("'<f8'", "(9999999, 99)")), "."),
    FaultyFile(
        "bomb.npz",
        lambda: archive(image__npy=npy_stating("'|u1'", "(3, 4)", bytes(64 << 20))),
        None,
    ),
)
_hdf5 = partial(FaultyFile, needs="h5py")
_dicom_object = partial(FaultyFile, role="mask", needs="highdicom")
OF_EXTRAS = (
    _hdf5("checksum.h5", lambda: _flipped_values(), "checksum|damaged|filter"),
    _hdf5("no_arrays.h5", lambda: _in_hdf5(lambda file: None), r"\(none\)"),
    _hdf5(
        "two.h5",
        lambda: _in_hdf5(lambda file: [file.create_dataset(n, data=GREY) for n in "ab"]),
        "a, b",
    ),
    _hdf5("text.h5", lambda: _in_hdf5(lambda f: f.create_dataset("a", data=[["x"]])), ANY_WORDS),
    _hdf5(
        "huge.h5",
        lambda: _in_hdf5(
            lambda f: f.create_dataset("a", (2_000_000, 2_000_000), "f8", chunks=True)
        ),
        "GiB|holds none",
    ),
    _hdf5(
        "unwritten.h5",
        lambda: _in_hdf5(lambda file: file.create_dataset("a", (12, 16), "u1", chunks=True)),
        "holds none of its values",
    ),
    _hdf5(
        "other_file.h5",
        lambda: _in_hdf5(
            lambda f: f.create_dataset("a", (12, 16), "u1", external=[("/etc/passwd", 0, 192)])
        ),
        "other files",
    ),
    _hdf5("link.h5", lambda: _in_hdf5(_link_out), r"\(none\)"),
    _hdf5("made_of_others.h5", lambda: _in_hdf5(_virtual), "other files"),
    _dicom_object("empty_seg.dcm", lambda: as_segmentation()[:200], ANY_WORDS),
    _dicom_object("cut10_seg.dcm", lambda: _part(as_segmentation(), 0.1), ANY_WORDS),
    _dicom_object("cut60_seg.dcm", lambda: _part(as_segmentation(), 0.6), ANY_WORDS),
    _dicom_object("cut97_seg.dcm", lambda: _part(as_segmentation(), 0.97), ANY_WORDS),
    _dicom_object("whole_seg.dcm", as_segmentation, stack(MASK)),
    _dicom_object("frames_seg.dcm", lambda: _changed_seg(NumberOfFrames=9999), ANY_WORDS),
    _dicom_object("rows_seg.dcm", lambda: _changed_seg(Rows=65535), ANY_WORDS),
    _dicom_object(
        "fractions_seg.dcm", lambda: _changed_seg(SegmentationType="FRACTIONAL"), "BINARY"
    ),
    _dicom_object(
        "cut_between_struct.dcm", lambda: _part(as_structure_set(), 441 / 610), ANY_WORDS
    ),
    _dicom_object("without_image_struct.dcm", as_structure_set, "name the series"),
)


def _in_hdf5(write: Callable[[Any], object]) -> bytes:
    h5py = importlib.import_module("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def _flipped_values() -> bytes:
    content = smallest(".h5")["whole.h5"]
    return flipped(content, content.index(GREY.tobytes()[:16]))


def _link_out(file: Any) -> None:
    h5py = importlib.import_module("h5py")
    file["image"] = h5py.ExternalLink("other.h5", "/image")


def _virtual(file: Any) -> None:
    h5py = importlib.import_module("h5py")
    layout = h5py.VirtualLayout((12, 16), "u1")
    layout[:] = h5py.VirtualSource("other.h5", "image", (12, 16))
    file.create_virtual_dataset("image", layout)


def _part(content: bytes, share: float) -> bytes:
    return content[: int(share * len(content))]


def _changed_seg(**elements: object) -> bytes:
    """Return a segmentation with other values of some elements."""
    pydicom = importlib.import_module("pydicom")
    content = pydicom.dcmread(io.BytesIO(as_segmentation()))
    for name, value in elements.items():
        setattr(content, name, value)
    stream = io.BytesIO()
    content.save_as(stream)
    return stream.getvalue()


FILES = (*_of_every_format(), *PICTURES, *TIFFS, *VOLUMES, *ARRAYS, *OF_EXTRAS)
