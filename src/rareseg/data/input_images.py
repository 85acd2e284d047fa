"""List the images to predict in a folder and the folders below it, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.dataset import open_images
from rareseg.data.file_names import clean_path
from rareseg.data.formats import IMAGE_SUFFIXES, is_image, suffix_of
from rareseg.data.records import Case
from rareseg.errors import DataError

MASK_FOLDERS = frozenset(
    (
        "mask", "masks", "label", "labels", "labelstr", "labelsts", "annotation", "annotations",
        "ann_dir", "gt", "ground_truth", "groundtruth", "segmentation", "segmentations",
    )
)  # fmt: skip
"""Names, in lower case, of folders whose pictures are masks: nothing in them is predicted."""

PREDICTIONS = "predictions.json"
"""What marks a folder that an earlier call wrote to."""

_OF_THE_SYSTEM = frozenset(("thumbs.db", "desktop.ini"))
"""Names, in lower case, of files that Windows leaves behind."""

_DESCRIBES = ("manifest.csv", "dataset.json", "imagesTr", "images")
"""What a folder holds that says itself how it is to be read."""


@dataclass(frozen=True)
class InputImages:
    """The images of a call.

    ``cases`` have ids that name their results: of an image in a folder below, that folder and the
    name, as ``line_a/part_1``, in characters that any system allows in names of files. ``remarks``
    say what was passed over, a sentence a kind.
    """

    cases: tuple[Case, ...]
    remarks: tuple[str, ...] = ()


def open_inputs(
    path: Path | str,
    *,
    channels: int | None = None,
    out: Path | None = None,
    reserved: Collection[str] = (),
) -> InputImages:
    """List images to predict: one file, a DICOM series, a data set, or a folder with folders.

    Folders are walked; links to folders are not followed. Passed over are ``out``, folders that
    an earlier call wrote to, those named as masks are (:data:`MASK_FOLDERS`), hidden files and
    what is no image. A folder named as one of ``reserved``, which results lie in, gives ids with
    an underscore behind that name. ``channels`` is as in
    :func:`~rareseg.data.dataset.open_images`.

    Raises :class:`DataError` where the path does not exist or holds no image, where channel files
    are missing, and where two images would have one id.
    """
    root = Path(path)
    if not root.is_dir() or is_image(root):
        return InputImages(_named(open_images(root, channels=channels)))
    found = _walk(root, out)
    if root not in found.folders:
        described = any((root / name).exists() for name in _DESCRIBES)
        if described or found.has_masks:
            try:
                return InputImages(_named(open_images(root, channels=channels)))
            except DataError:
                if described:
                    raise
    if not found.folders:
        raise DataError(
            " ".join(
                (
                    f"{root} holds no image that can be read; allowed are "
                    f"{', '.join(IMAGE_SUFFIXES)}.",
                    *found.remarks,
                )
            )
        )
    cases: list[Case] = []
    for folder in found.folders:
        own = open_images(folder, channels=channels)
        within = _free(folder.relative_to(root).as_posix(), reserved, root)
        cases += (
            own if folder == root else [replace(case, id=f"{within}/{case.id}") for case in own]
        )
    return InputImages(_named(cases), found.remarks)


@dataclass(frozen=True)
class _Found:
    folders: tuple[Path, ...]
    remarks: tuple[str, ...]
    has_masks: bool


def _walk(root: Path, out: Path | None) -> _Found:
    """Return the folders that hold images themselves, in order, and what else there is."""
    folders: list[Path] = []
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    skipped: dict[str, list[str]] = {"masks": [], "earlier predictions": []}
    for folder, below, files in _visited(root, out, skipped):
        if any(is_image(folder / name) for name in (*files, *below)):
            folders.append(folder)
        # A folder of DICOM files is one image.
        below[:] = [name for name in below if not is_image(folder / name)]
        for name in sorted(files):
            path = folder / name
            if is_image(path) or name.startswith(".") or name.lower() in _OF_THE_SYSTEM:
                continue
            kind = suffix_of(path) or "without a suffix"
            if path.is_symlink() and not path.exists():
                kind = "links to nowhere"
            kinds[kind] += 1
            examples.setdefault(kind, path.relative_to(root).as_posix())
    remarks = []
    if kinds:
        listed = ", ".join(f"{n} {kind} ({examples[kind]})" for kind, n in kinds.most_common())
        remarks.append(f"Passed over, as no images that can be read: {listed}.")
    for what, names in skipped.items():
        if names:
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            remarks.append(
                f"Passed over, as folders of {what}: {', '.join(names[:2])}{more}; name such a "
                "folder itself to predict what it holds."
            )
    return _Found(tuple(folders), tuple(remarks), bool(skipped["masks"]))


def _visited(
    root: Path, out: Path | None, skipped: dict[str, list[str]]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk the folders that may hold images, and note those that are left out."""
    target = None if out is None else out.resolve()
    for place, below, files in os.walk(root):
        folder = Path(place)
        kept = []
        for name in sorted(below):
            inside = folder / name
            shown = inside.relative_to(root).as_posix()
            if name.startswith(".") or inside.resolve() == target:
                continue
            if (inside / PREDICTIONS).is_file():
                skipped["earlier predictions"].append(shown)
            elif name.lower() in MASK_FOLDERS:
                skipped["masks"].append(shown)
            else:
                kept.append(name)
        below[:] = kept
        yield folder, below, files


def _free(within: str, reserved: Collection[str], root: Path) -> str:
    """Return the folder's path with a first name that no folder of results has."""
    first, *rest = within.split("/")
    results = {name.lower() for name in reserved}
    if first.lower() in results:
        taken = results | {entry.name.lower() for entry in root.iterdir()}
        while first.lower() in taken:
            first += "_"
    return "/".join([first, *rest])


def _named(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases under ids that can name files; DataError where two have one."""
    cases = [replace(case, id=clean_path(case.id)) for case in cases]
    places: dict[str, Case] = {}
    for case in cases:
        earlier = places.setdefault(case.id, case)
        if earlier is not case:
            first, second = (
                str(one.images[0]) if one.images else one.id for one in (earlier, case)
            )
            raise DataError(
                f"{first} and {second} would both be predicted as '{case.id}' and overwrite each "
                "other; rename one."
            )
    return tuple(cases)
