"""Read finished masks of any tool as scores of 0 and 1.

A folder holds one label map per case, named after the case's id, or one folder per region with such
files in it: masks of 0 and any one other value. Where a folder of each region stands beside label
maps, as `rareseg predict` writes them, the regions' masks count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.formats import IMAGE_SUFFIXES, read_mask, stem_of, suffix_of
from rareseg.data.records import Classes, Image
from rareseg.data.score_files.probability_files import ProbabilityFiles, by_case, require_all
from rareseg.data.store.preprocess import class_indices
from rareseg.errors import DataError, ReadError


def list_masks(
    folder: Path, known: Collection[str], needed: Collection[str], regions: Collection[str]
) -> ProbabilityFiles:
    """Find the mask files of cases by their names; nothing is opened.

    ``known`` are the ids of all cases that there are, ``needed`` those that must have a file,
    ``regions`` the names that folders may have. Other folders are passed over. Raises
    :class:`DataError`, one sentence, where the folder is missing or holds no mask, a file belongs
    to no known case, several to one, or none to a needed case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the one that holds the masks.")
    inside = [region for region in regions if (folder / region).is_dir()]
    whole = len(inside) == len(regions) or not _masks_in(folder)
    places = {name: folder / name for name in inside} if whole else {"": folder}
    listed = {name: by_case(place, _masks_in(place), known) for name, place in places.items()}
    if not any(listed.values()):
        raise DataError(
            f"{folder} holds no mask; allowed are {', '.join(IMAGE_SUFFIXES)}, one per case, or "
            f"one folder per region ({', '.join(regions)}) with such files."
        )
    files: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    for name, found in listed.items():
        require_all(places[name], found, needed)
        for case, path in found.items():
            files[case][name] = path
    return ProbabilityFiles(folder, dict(files), tuple(inside) if whole else ())


def read_label_scores(path: Path, image: Image, classes: Classes) -> NDArray[np.float32]:
    """Read a label map as scores (class, z, y, x) float32, 1 for the class of each voxel.

    Values are those of the classes; of a single class any value above 0 is taken. Raises
    :class:`ReadError` where the file is no mask of the image, :class:`DataError` for other values.
    """
    array = _fitting(path, image)
    if classes.count == 2 and len(np.unique(array[array != 0])) <= 1:
        array = np.where(array != 0, classes.values[1], classes.values[0])
    labels = class_indices(array, classes.values, None)
    return np.stack([labels == k for k in range(classes.count)]).astype(np.float32)


def read_region_scores(path: Path, image: Image) -> NDArray[np.float32]:
    """Read a region's mask as scores (1, z, y, x) float32.

    Raises :class:`ReadError` where the file is no mask of the image, or holds two values beside 0.
    """
    array = _fitting(path, image)
    values = np.unique(array[array != 0])
    if len(values) > 1:
        raise ReadError(
            f"{path} holds the values 0, {', '.join(map(str, values[:4].tolist()))}; the mask of a "
            "region holds 0 and one other."
        )
    return np.asarray(array[np.newaxis] != 0, np.float32)


def _masks_in(folder: Path) -> list[Path]:
    """Return the visible files that can hold masks.

    An NPZ file beside a mask of the same name is none: nnU-Net writes its probabilities there.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name[0] != "." and suffix_of(path) in IMAGE_SUFFIXES
    ]
    named = {stem_of(path) for path in found if suffix_of(path) != ".npz"}
    return [path for path in found if suffix_of(path) != ".npz" or stem_of(path) not in named]


def _fitting(path: Path, image: Image) -> NDArray[np.integer]:
    """Return the mask; ReadError where its shape is not the image's."""
    array, wanted = read_mask(path, image=image).array, image.array.shape[1:]
    if array.shape != wanted:
        raise ReadError(
            f"{path} has the shape (z, y, x) = {array.shape} where the image has {wanted}; write "
            "masks on the images' own grid."
        )
    return array
