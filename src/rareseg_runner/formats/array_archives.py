"""Read arrays by name out of NPZ and HDF5: one array, or an image with its mask."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.format_registry import Format
from rareseg_runner.formats.npy import TooLargeError, arranged, parse_npy
from rareseg_runner.formats.reader_guard import (
    MOST_PACKED,
    PLAUSIBLE_BYTES,
    check_size,
    guarded,
    has_module,
    load_extra,
)
from rareseg_runner.image_records import Image
from rareseg_runner.text_files import in_words

IMAGE_NAMES = ("image", "img", "data")
MASK_NAMES = ("mask", "label")
"""What the array of an image and of a mask may be called, in any case of letters."""

_Arrays = dict[str, Callable[[], Any]]
"""The arrays of a file by name, each read when it is called."""


def read_npz(path: Path, *, as_mask: bool = False) -> Image:
    """Read the image or, for a mask, the mask of an NPZ file; nothing is unpickled.

    A file with one array holds it, whatever it is called. Else ``IMAGE_NAMES`` and ``MASK_NAMES``
    are looked for. The axes are those of NPY.

    Raises:
        ReadError: damaged, no array or several of the name, or no plain numbers.
    """
    with guarded(path, "NPZ"), zipfile.ZipFile(path) as archive:
        arrays: _Arrays = {
            info.filename.removesuffix(".npy"): partial(_member, archive, info, path)
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        return _chosen(arrays, path, as_mask=as_mask)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Any:
    if info.file_size > max(PLAUSIBLE_BYTES, info.compress_size * MOST_PACKED):
        raise ReadError(
            f"{path} states {in_words(info.file_size)} of {info.filename}, which its "
            f"{in_words(info.compress_size)} do not hold: it is damaged; save it again."
        )
    with archive.open(info) as stream:
        try:
            return parse_npy(stream, available=info.file_size)  # type: ignore[arg-type]
        except TooLargeError as error:
            raise ReadError(f"{path}, {info.filename}: {error}") from error


def npz_carries_both(path: Path) -> bool:
    """Whether an NPZ file has an image and a mask by name; False where it cannot be read."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return _are_both(name.removesuffix(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def read_hdf5(path: Path, *, as_mask: bool = False) -> Image:
    """Read the image or the mask of an HDF5 file, as :func:`read_npz` does.

    Groups are looked through; an array is known by the last part of its name.
    """
    hdf5 = load_extra("h5py", "hdf5", path, "HDF5")
    with guarded(path, "HDF5"), hdf5.File(path, "r") as file:
        arrays: _Arrays = {
            name.rsplit("/", 1)[-1]: partial(_dataset, found, path)
            for name, found in _datasets(hdf5, file).items()
        }
        return _chosen(arrays, path, as_mask=as_mask)


def _dataset(found: Any, path: Path) -> Any:
    if found.external or found.is_virtual:
        raise ReadError(
            f"{path} takes the array {found.name} from other files, which is not followed; save it "
            "with its values."
        )
    check_size(path, found.shape, found.dtype.itemsize)
    if found.chunks:  # each is unpacked whole, however little of it lies in the array
        check_size(path, found.chunks, found.dtype.itemsize)
    if found.size and not found.id.get_storage_size():
        raise ReadError(f"{path} states the array {found.name} and holds none of its values.")
    return found[()]


def _datasets(hdf5: Any, file: Any) -> dict[str, Any]:
    """Return the arrays by path; links into other files are not followed."""
    found = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, hdf5.Dataset) and item.ndim >= 2:
            found[name] = item

    file.visititems(visit)
    return found


def hdf5_carries_both(path: Path) -> bool:
    """Whether an HDF5 file has both by name; False where it cannot be read or is not installed."""
    if not has_module("h5py"):
        return False
    hdf5 = load_extra("h5py", "hdf5", path, "HDF5")
    try:
        with hdf5.File(path, "r") as file:
            return _are_both(name.rsplit("/", 1)[-1] for name in _datasets(hdf5, file))
    except (OSError, RuntimeError, KeyError):
        return False


def _are_both(names: Iterable[str]) -> bool:
    known = {name.lower() for name in names}
    return bool(known & set(IMAGE_NAMES)) and bool(known & set(MASK_NAMES))


def _chosen(arrays: _Arrays, path: Path, *, as_mask: bool) -> Image:
    wanted = MASK_NAMES if as_mask else IMAGE_NAMES
    hits = [name for name in arrays if name.lower() in wanted]
    if len(arrays) == 1:
        hits = list(arrays)
    if len(hits) != 1:
        raise ReadError(
            f"{path} holds the arrays {', '.join(sorted(arrays)[:8]) or '(none)'}, where one is "
            f"allowed, or one called {' or '.join(wanted)}; rename it."
        )
    return arranged(arrays[hits[0]](), path, as_mask=as_mask)


_ARCHIVE = partial(Format, kind="array", masks_as=".npy")
FORMATS = (
    _ARCHIVE(
        "NPZ",
        suffixes=(".npz",),
        reads=read_npz,
        reads_mask=partial(read_npz, as_mask=True),
        both=npz_carries_both,
    ),
    _ARCHIVE(
        "HDF5",
        suffixes=(".h5", ".hdf5"),
        reads=read_hdf5,
        reads_mask=partial(read_hdf5, as_mask=True),
        both=hdf5_carries_both,
        needs=("h5py", "hdf5"),
    ),
)
