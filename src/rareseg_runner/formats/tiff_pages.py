"""Choose which picture of a TIFF is the image, and check that all of it is there."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import tifffile

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.reader_guard import MOST_PACKED, check_size
from rareseg_runner.memory_limit import refusal

_BIG = 43
"""The version of BigTIFF."""
_PLAIN = (tifffile.COMPRESSION.NONE,)
_DEFLATE = (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)
_REDUCED, _TRANSPARENCY = 1, 4
"""Bits of the tag NewSubfileType: a smaller copy, and which pixels of another page are shown."""


def choose_picture(file: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Return the series of pages that is the image: of all pictures the one of the most pixels.

    Smaller ones are thumbnails, labels or the levels of a pyramid, wherever they stand. A series
    holds pages of one size, such as the slices of a stack, and of a pyramid its first level.

    Raises ReadError where several pictures have the largest size.
    """
    known = [series for series in file.series if series.pages and _area(series)]
    shown = [series for series in known if not _subfile(series) & _TRANSPARENCY]
    if not shown:
        raise ValueError("it has no picture")
    largest = max(_area(series) for series in shown)
    found = [series for series in shown if _area(series) == largest]
    if len(found) > 1:
        found = [series for series in found if not _subfile(series) & _REDUCED] or found
    if len(found) > 1:
        kinds = ", ".join(sorted({f"{s.keyframe.dtype} {s.axes}{s.shape}" for s in found}))
        raise ReadError(
            f"{path} holds {len(found)} pictures of the same size ({kinds}), of which none is the "
            "image; save each as a file of its own."
        )
    return found[0]


def _area(series: tifffile.TiffPageSeries) -> int:
    page = series.keyframe
    return int(page.imagelength) * int(page.imagewidth)


def _subfile(series: tifffile.TiffPageSeries) -> int:
    return int(series.keyframe.subfiletype or 0)


def require_whole(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> None:
    """Raise where a file is cut or states more than it has, before anything is allocated.

    tifffile fills missing strips and tiles with zeros.

    Raises ReadError for what is too large, ValueError for what is missing.
    """
    size, page = file.filehandle.size, series.keyframe
    check_size(path, series.shape, page.dtype.itemsize if page.dtype else 1)
    _require_stated_slices(file, series)
    needed = math.prod(page.chunked)
    for part in series.pages:
        if part is None:
            raise ValueError("a page of the series is missing")
        offsets, counts = part.dataoffsets, part.databytecounts
        if len(offsets) < needed or len(counts) < needed:
            raise ValueError(f"{len(offsets)} of {needed} strips or tiles are there")
        if max(map(sum, zip(offsets, counts, strict=False)), default=0) > size:
            raise ValueError("strips or tiles lie beyond its end")
        if page.compression in _DEFLATE:
            _require_bounded(file, page, offsets, counts)
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise ValueError(f"it states {series.nbytes} bytes of values and has {size} in all")


def _require_bounded(
    file: tifffile.TiffFile, page: tifffile.TiffPage, offsets: Sequence[int], counts: Sequence[int]
) -> None:
    """Raise ValueError where a strip or tile would unpack to more than its tags state.

    Only those are tried that could fill the memory: tifffile unpacks each to its end.
    """
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=False)):
        if refusal(count * MOST_PACKED) is None:
            continue
        file.filehandle.seek(offset)
        allowed = _segment_bytes(page, index)[1]
        if _unpacked(file.filehandle.read(count), allowed) > allowed:
            raise ValueError(f"strip or tile {index} unpacks to more than {allowed} bytes")


def require_sizes(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise ValueError where strips or tiles of a mask hold more or less than its tags state.

    tifffile cuts or pads them: a damaged tag (its width, its bits a sample) would give another mask
    in silence. Deflate is unpacked once more for it; of other compressions nothing is known.
    """
    page = series.keyframe
    if page.tags.get("PhotometricInterpretation") is None:
        raise ValueError("no tag says whether 0 is black or white")
    if page.imagedepth > 1 or page.compression not in (*_PLAIN, *_DEFLATE):
        return
    for part in series.pages:
        for index, (offset, count) in enumerate(
            zip(part.dataoffsets, part.databytecounts, strict=False)
        ):
            if count == 0:
                continue
            file.filehandle.seek(offset)
            found = count
            allowed = _segment_bytes(page, index)
            if page.compression in _DEFLATE:
                found = _unpacked(file.filehandle.read(count), allowed[1])
            if found not in allowed and not (page.compression in _PLAIN and found > allowed[0]):
                raise ValueError(f"strip or tile {index} holds {found} bytes, not {allowed[0]}")


def _unpacked(packed: bytes, most: int) -> int:
    """Return how many bytes deflate makes of ``packed``; where more than ``most``, ``most`` + 1.

    Raises zlib.error where it is damaged or cut.
    """
    unpacking = zlib.decompressobj()
    found = len(unpacking.decompress(packed, most + 1))
    if found <= most and not unpacking.eof:
        raise zlib.error("incomplete or truncated stream")
    return found


def _segment_bytes(page: tifffile.TiffPage, index: int) -> tuple[int, int]:
    """Return how many bytes a strip or tile has, and how many a whole one has."""
    rows, width = page.tilelength, page.tilewidth
    left = rows
    if not page.is_tiled:
        rows, width = min(page.rowsperstrip, page.imagelength), page.imagewidth
        left = page.imagelength - rows * (index % -(-page.imagelength // rows))
    samples = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.CONTIG else 1
    line = -(-width * samples * page.bitspersample // 8)
    return min(rows, left) * line, rows * line


def _require_stated_slices(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise ValueError where the file's notes state other slices than are found.

    ImageJ and tifffile describe a stack by its first page alone; where the notes do not fit the
    rest of the file, tifffile would give that page as the whole.
    """
    page = file.pages.first
    if page.is_imagej:
        stated = int((file.imagej_metadata or {}).get("images", 1))
        if stated > len(series.pages):
            raise ValueError(f"ImageJ's notes state {stated} slices, not {len(series.pages)}")
    if page.is_shaped and series.kind != "shaped" and "shape" in page.description:
        raise ValueError(f"its notes state another shape than {series.shape}")


def require_all_pages(file: tifffile.TiffFile) -> None:
    """Follow the list of pages to its end, before tifffile does, which goes round a loop for hours.

    Raises ValueError where it leads out of the file, or back to a page that was met before.
    """
    handle, form, size = file.filehandle, file.tiff, file.filehandle.size
    seen: set[int] = set()
    at = 8 if form.version == _BIG else 4
    while True:
        handle.seek(at)
        (page,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        if page == 0:
            return
        if page in seen or page + form.tagnosize > size:
            raise ValueError("its list of pages breaks off")
        seen.add(page)
        handle.seek(page)
        (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        at = page + form.tagnosize + tags * form.tagsize
        if at + form.offsetsize > size:
            raise ValueError("its list of pages breaks off")
