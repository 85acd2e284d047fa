"""Read finished masks of any tool as scores of 0 and 1.

A folder holds one label map per case, named after the case's id, or one folder per region with such
files in it: masks of 0 and any one other value. Where a folder of each region stands beside label
maps, as `rareseg predict` writes them, the regions' masks count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rareseg.data.score_files.probability_files import ProbabilityFiles
from rareseg.errors import DataError, ReadError
from rareseg_runner.file_names import clean_name
from rareseg_runner.formats import (
    IMAGE_SUFFIXES,
    format_of,
    read_image,
    read_mask,
    stem_of,
    suffix_of,
)
from rareseg_runner.image_records import Classes, Image
from rareseg_runner.preprocessing.preprocess import class_indices

RESULT_FOLDERS = ("probabilities", "overlays", "segmentations", "yolo", "geojson", "labelme")
"""What `rareseg predict` writes beside masks: no mask is looked for there."""

LOOKED_AT = 10
"""Files by which it is told what a folder holds."""


def list_masks(
    folder: Path, known: Collection[str], needed: Collection[str], regions: Collection[str]
) -> ProbabilityFiles:
    """Find the mask files of cases by their names; nothing is opened.

    ``known`` are the ids of all cases that there are, ``needed`` those that must have a file,
    ``regions`` the names that folders may have. Folders of results other than masks
    (:data:`RESULT_FOLDERS`) are passed over, others are walked: the file ``line_a/part_1.png``
    belongs to the case line_a/part_1, line_a_part_1 or part_1, whichever there is. Files of no case
    are named in ``others``, and not scored.

    Raises :class:`DataError`, one sentence, where the folder is missing or holds no mask, several
    files belong to one case, or none to a needed case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name the one that holds the masks.")
    named = {region: folder / clean_name(region) for region in regions}
    inside = [region for region, place in named.items() if place.is_dir()]
    loose = _masks_in(folder, {*(place.name for place in named.values()), *RESULT_FOLDERS})
    whole = len(inside) == len(regions) or not loose
    places = {name: _masks_in(named[name]) for name in inside} if whole else {"": loose}
    if not any(places.values()):
        raise DataError(
            f"{folder} holds no mask; allowed are {', '.join(IMAGE_SUFFIXES)}, one per case, or "
            f"one folder per region ({', '.join(regions)}) with such files."
        )
    files: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    others: list[Path] = []
    for name, paths in places.items():
        place = named.get(name, folder)
        found, more = _by_case(place, paths, known)
        _require_all(place, found, needed, more)
        others += more
        for case, path in found.items():
            files[case][name] = path
    return ProbabilityFiles(folder, dict(files), tuple(inside) if whole else (), tuple(others))


def what_files_hold(folder: Path) -> Literal["scores", "masks", "either"]:
    """Tell whether a folder's files can be scores or finished masks, by those that come first.

    Whole numbers are masks, and floats scores; of whole numbers in a format that scales them (PNG)
    the values must tell: "either". What cannot be read counts as scores, whose reader says why.
    """
    if not folder.is_dir():
        return "scores"
    paths = _masks_in(folder, RESULT_FOLDERS)
    beside = {path.suffix.lower() for path in folder.iterdir()}
    if not paths or ".npz" in beside:
        return "scores"
    for path in paths[:LOOKED_AT]:
        form = format_of(path)
        if form is None or not form.scores:
            return "masks"
        if form.levels is not None:
            return "either"
        try:
            if read_image((path,)).array.dtype.kind in "iub":
                return "masks"
        except ReadError:
            continue
    return "scores"


def hold_label_values(folder: Path, classes: Classes) -> bool:
    """Whether the first files of a folder that hold anything hold values of the classes alone.

    Of a single class any one value is taken, as :func:`read_label_scores` does.
    """
    allowed = {0, *classes.values}
    if classes.ignore_value is not None:
        allowed.add(classes.ignore_value)
    seen: set[int] = set()
    telling = 0
    for path in _masks_in(folder, RESULT_FOLDERS):
        try:
            own = set(np.unique(read_mask(path).array).tolist()) - {0}
        except ReadError:
            return False
        seen |= own
        telling += bool(own)
        if telling == LOOKED_AT:
            break
    single = classes.count == 2 and len(seen) == 1
    return bool(seen) and (single or seen <= allowed)


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


def _masks_in(folder: Path, left_out: Collection[str] = ()) -> list[Path]:
    """Return the visible files that can hold masks, those of the folder itself first.

    An NPZ file beside a mask of the same name is none: nnU-Net writes its probabilities there.
    """
    entries = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    own = [path for path in entries if path.is_file() and suffix_of(path) in IMAGE_SUFFIXES]
    named = {stem_of(path) for path in own if suffix_of(path) != ".npz"}
    own = [path for path in own if suffix_of(path) != ".npz" or stem_of(path) not in named]
    below = [path for path in entries if path.is_dir() and path.name not in left_out]
    return [*own, *(path for inside in below for path in _masks_in(inside))]


def _by_case(
    folder: Path, paths: Collection[Path], known: Collection[str]
) -> tuple[dict[str, Path], list[Path]]:
    """Lead from case ids to their files, and return the files of no case."""
    found: dict[str, Path] = {}
    others = []
    for path in paths:
        within = path.relative_to(folder).as_posix()
        name = within[: -len(suffix_of(path))]
        names = (name, name.replace("/", "_"), name.rpartition("/")[2])
        case = next((one for one in names if one in known), None)
        if case is None:
            others.append(path)
        elif case in found:
            raise DataError(
                f"{folder} holds {found[case].relative_to(folder)} and {within} of one case; keep "
                "one of them."
            )
        else:
            found[case] = path
    return found, others


def _require_all(
    folder: Path, found: Mapping[str, Path], needed: Collection[str], others: Sequence[Path]
) -> None:
    """Raise DataError where a case that is needed has no file."""
    missing = sorted(set(needed) - set(found))
    if missing:
        first = ", ".join(missing[:2])
        unused = ""
        if others:
            names = ", ".join(path.name for path in others[:2])
            unused = f" It holds {len(others)} files of no case, such as {names}."
        raise DataError(
            f"{folder} has no file for {len(missing)} of {len(needed)} cases ({first}"
            f"{', …' if len(missing) > 2 else ''}); add them, named after the cases, or leave "
            f"these cases out of the references.{unused}"
        )


def _fitting(path: Path, image: Image) -> NDArray[np.integer]:
    """Return the mask; ReadError where its shape is not the image's."""
    array, wanted = read_mask(path, image=image).array, image.array.shape[1:]
    if array.shape != wanted:
        raise ReadError(
            f"{path} has the shape (z, y, x) = {array.shape} where the image has {wanted}; write "
            "masks on the images' own grid."
        )
    return array
