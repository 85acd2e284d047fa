"""Read probability files of any tool, and match them with cases.

A folder holds either one file per case, named after the case's id, or one folder per region with
such files in it. One file per case holds a score of the foreground, or all classes (background
first), or all declared regions, along its channel axis.

nnU-Net writes ``ID.npz`` beside its segmentation ``ID.nii.gz``. Version 2 keeps the key
``probabilities`` (classes, z, y, x) in the axis order of the image that it read, uncropped;
version 1 the key ``softmax`` of the part that was left after cropping. Trained on regions, version
2 has one channel per region, in the order of ``labels`` in its dataset.json.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import DataError, ReadError, nearest
from rareseg_runner.formats import format_of, read_image, score_suffixes, suffix_of
from rareseg_runner.formats.npy import parse_npy
from rareseg_runner.geometry import CANONICAL, disagreement, from_canonical, to_canonical, upright
from rareseg_runner.image_records import Image

KEYS = ("probabilities", "softmax")
"""The arrays that nnU-Net 2 and nnU-Net 1 write into their NPZ files."""

ROUNDING = 1e-3
"""How far a score may leave [0, 1] and still be called rounding, as of half-precision sums."""

Numbers = NDArray[np.generic]


@dataclass(frozen=True)
class ProbabilityFiles:
    """Where the scores of cases lie.

    ``files`` leads from a case's id to its files by region; where one file holds all that there is
    of a case, it stands under "". ``regions`` are the folders' names, empty in that case.
    ``others`` are files of no case, which are not read.
    """

    folder: Path
    files: Mapping[str, Mapping[str, Path]]
    regions: tuple[str, ...] = ()
    others: tuple[Path, ...] = ()


def list_probabilities(
    folder: Path, known: Collection[str], needed: Collection[str] | None = None
) -> ProbabilityFiles:
    """Find the probability files of cases by their names; nothing is opened.

    ``known`` are the ids of all cases that there are, ``needed`` those that must have a file (all
    where None). Beside ``.npz`` files all others are taken for what nnU-Net writes with them. Files
    that cannot hold probabilities (.json, .pkl, …) are passed over.

    Raises :class:`DataError`, one sentence, where the folder is missing or empty, holds files and
    folders, a file of no known case, several of one case, or none of a needed case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the one that holds the probability files.")
    loose = _files_in(folder)
    inside = {
        path.name: found
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and (found := _files_in(path))
    }
    if loose and inside:
        raise DataError(
            f"{folder} holds probability files and the folders {', '.join(list(inside)[:3])} with "
            "more of them; keep one file per case, or one folder per region and no file beside."
        )
    if not loose and not inside:
        raise DataError(
            f"{folder} holds no probability file; allowed are {', '.join(_suffixes())}, one per "
            "case, or one folder per region with such files."
        )
    of_cases = sorted(set(inside) & set(known))
    if of_cases:
        raise DataError(
            f"{folder / of_cases[0]} is a folder of one case, where folders are regions; write "
            f"{of_cases[0]}{suffix_of(inside[of_cases[0]][0])} into {folder} itself (MONAI: "
            "separate_folder=False, output_postfix='')."
        )
    wanted = set(known if needed is None else needed)
    listed = {name: by_case(folder / name, found, known) for name, found in inside.items()}
    if not inside:
        listed = {"": by_case(folder, loose, known)}
    for name, own in listed.items():
        require_all(folder / name, own, wanted)
    files: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for name, own in listed.items():
        for case, path in own.items():
            files[case][name] = path
    return ProbabilityFiles(folder, dict(files), tuple(inside))


def read_probabilities(path: Path, image: Image) -> NDArray[np.float32]:
    """Read one probability file onto the canonical grid of its image: (channel, z, y, x) float32.

    NPZ, NPY and other files without a geometry hold their axes as the image's own file does. A file
    with a geometry must lie where the image lies; where the image is a photograph, only its pixels
    count. Greyscale PNG of 8 and 16 bits is divided by 255 and 65535; all others hold floats.
    Values may leave [0, 1] by :data:`ROUNDING`.

    Raises :class:`ReadError` that names the file for anything that cannot be read, is no
    probability (integers, NaN, values outside [0, 1]), or does not fit on the image. Nothing is
    unpickled.
    """
    packed = suffix_of(path) == ".npz"
    plain = packed or suffix_of(path) == ".npy"
    found = _as_read(_from_array(path, image), image) if plain else _from_image(path, image)
    array = np.ascontiguousarray(found, np.float32)
    shape, wanted = array.shape[1:], image.array.shape[1:]
    if shape != wanted:
        cropped = (
            "; nnU-Net 1 writes the cropped part alone, so put it back with the crop_bbox of its "
            ".pkl, or predict with nnU-Net 2"
            if packed
            else "; write the scores on the image's original grid"
        )
        raise ReadError(
            f"{path} has the shape (z, y, x) = {shape} where the image has {wanted}{cropped}."
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and high <= 1.0 + ROUNDING):
        wrong = int((~((array >= -ROUNDING) & (array <= 1.0 + ROUNDING))).sum())
        raise ReadError(
            f"{path} holds {wrong} values of {array.size} that are NaN or outside [0, 1]; write "
            "probabilities (after softmax or sigmoid), not logits."
        )
    return array


def _suffixes() -> tuple[str, ...]:
    """Return the suffixes of what can hold probabilities; NPZ holds no image."""
    return (".npz", *score_suffixes())


def _files_in(folder: Path) -> list[Path]:
    """Return the visible files that can hold probabilities; where there is NPZ, those alone."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name[0] != "." and suffix_of(path) in _suffixes()
    ]
    return [path for path in found if suffix_of(path) == ".npz"] or found


def by_case(folder: Path, paths: Collection[Path], known: Collection[str]) -> dict[str, Path]:
    """Lead from case ids to their files; refuse files of no case and two of one."""
    found: dict[str, Path] = {}
    others = [path for path in paths if path.name[: -len(suffix_of(path))] not in known]
    if others:
        name = others[0].name[: -len(suffix_of(others[0]))]
        more = f" ({len(others)} files do, also {others[1].name})" if len(others) > 1 else ""
        raise DataError(
            f"{others[0]} belongs to no case of the references{nearest(name, known)}{more}; name "
            "each file after its case's id, and move others away."
        )
    for path in paths:
        name = path.name[: -len(suffix_of(path))]
        if name in found:
            raise DataError(
                f"{folder} holds {found[name].name} and {path.name} of one case; keep one of them."
            )
        found[name] = path
    return found


def require_all(folder: Path, found: Mapping[str, Path], needed: Collection[str]) -> None:
    """Raise DataError where a case that is needed has no file."""
    missing = sorted(set(needed) - set(found))
    if missing:
        suffix = suffix_of(next(iter(found.values()))) if found else ".nii.gz"
        raise DataError(
            f"{folder} has no file for {len(missing)} of {len(needed)} cases (the "
            f"first is {missing[0]}{suffix}); add them, or leave these cases out of the references."
        )


def _from_array(path: Path, image: Image) -> Numbers:
    """Return the array of an NPZ or NPY file as (channel, z, y, x)."""
    try:
        with path.open("rb") as stream:
            array = parse_npy(_member(path, stream) if suffix_of(path) == ".npz" else stream)
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ReadError(
            f"{path} cannot be read ({error}); write it again with numpy.savez_compressed."
        ) from error
    _require_floats(path, array.dtype)
    flat = image.geometry.dimension == 2
    axes = (2, 3, 4) if flat else (3, 4)
    if array.ndim not in axes or array.size == 0:
        allowed = "(y, x), (classes, y, x)" if flat else "(z, y, x)"
        raise ReadError(
            f"{path} has the shape {array.shape}; allowed are {allowed} and (classes, z, y, x)."
        )
    if array.ndim == 4:
        return array
    return array.reshape(-1, 1, *array.shape[-2:]) if flat else array[None]


def _member(path: Path, stream: BinaryIO) -> BytesIO:
    """Return the array of an NPZ file, decompressed, in NPY format."""
    with zipfile.ZipFile(stream) as archive:
        held = [name.removesuffix(".npy") for name in archive.namelist()]
        for key in KEYS:
            if key in held:
                return BytesIO(archive.read(f"{key}.npy"))
    raise ReadError(
        f"{path} holds {', '.join(held[:5]) or 'nothing'}; the array must be named "
        f"{' or '.join(KEYS)}, as nnU-Net names it."
    )


def _from_image(path: Path, image: Image) -> Numbers:
    """Return (channel, z, y, x) of an image file."""
    form = format_of(path)
    levels = form.levels(path) if form and form.levels else None
    found = read_image((path,))
    array = found.array
    if levels is not None:
        return array.astype(np.float32) / np.float32(levels)
    _require_floats(path, array.dtype)
    in_world = image.geometry.origin is not None
    if found.geometry.origin is None:
        # Pictures are shown upright by any reader.
        return _as_read(array, image) if in_world else array
    if not in_world:
        # A photograph has no world: what the other file says of one would only turn it.
        return _as_read(from_canonical(array, found.geometry.orientation or CANONICAL), image)
    if array.shape[1:] == image.array.shape[1:]:
        difference = disagreement(image.geometry, found.geometry, array.shape[1:])
        if difference:
            raise ReadError(
                f"{path} does not lie on its image: {difference}; write the scores on the image's "
                "original grid, with its header."
            )
    return array


def _as_read(array: Numbers, image: Image) -> Numbers:
    """Turn an array in the axis order of the image's file to the canonical one."""
    geometry = image.geometry
    turned = upright(array, geometry.exif)
    return to_canonical(turned, geometry.orientation or CANONICAL)


def _require_floats(path: Path, dtype: np.dtype[np.generic]) -> None:
    """Raise ReadError where numbers are no floats."""
    if dtype.kind != "f":
        raise ReadError(
            f"{path} holds {dtype}, which looks like a segmentation; write the probabilities as "
            "floats in [0, 1] (whole numbers are scaled in PNG alone)."
        )
