"""List the images to predict in a folder and the folders below it, and what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import FileTree, group_channels
from rareseg.data.layouts.folders.folder_words import is_mask_folder
from rareseg.data.layouts.names import name_key
from rareseg.data.records import Case
from rareseg.errors import DataError, ProblemsError
from rareseg_runner.file_names import clean_path
from rareseg_runner.formats import IMAGE_SUFFIXES, is_image, stem_of, suffix_of
from rareseg_runner.formats.reader_guard import guarded

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


def open_images(path: Path | str, *, channels: int | None = None) -> tuple[Case, ...]:
    """List images to predict, without masks: one file, a DICOM series, a folder, or a data set.

    In a plain folder, files ``ID_0000.ext … ID_000n.ext`` are the channels of one case where
    every case has the same ones; ``channels`` says how many files a case has (1: each file is a
    case of its own) and decides where names alone are ambiguous.

    Raises:
        DataError: the path does not exist, holds no image, or a case lacks channel files.
    """
    path = Path(path)
    with guarded(path, "images"):
        return _opened(path, channels)


def _opened(path: Path, channels: int | None) -> tuple[Case, ...]:
    if not path.exists():
        raise DataError(f"{path} does not exist; correct the path.")
    if is_image(path):
        return (Case(stem_of(path), (path,), None),)
    if path.is_file() and path.suffix.lower() != ".csv":
        raise DataError(f"{path} is no image; allowed are {', '.join(IMAGE_SUFFIXES)}.")
    found = FileTree(path).images("") if path.is_dir() else []
    if not found:
        dataset = open_dataset(path)
        if not all(case.images for case in dataset.cases):
            raise ProblemsError(dataset.problems or [f"{path} lists a case without an image."])
        return tuple(replace(case, mask=None) for case in dataset.cases)
    grouped = _gathered(found, channels)
    repeated = [name for name, count in Counter(stem_of(p) for p in found).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path} holds several images named {repeated[0]}; their results would overwrite each "
            "other, so rename one."
        )
    return tuple(Case(name, paths, None) for name, paths in grouped.items())


def open_inputs(
    path: Path | str,
    *,
    channels: int | None = None,
    out: Path | None = None,
    reserved: Collection[str] = (),
) -> InputImages:
    """List images to predict: one file, a DICOM series, a data set, or a folder with folders.

    Folders are walked; links to folders are not followed. Passed over are ``out``, folders that
    an earlier call wrote to, those named as masks are (as layouts read names), hidden files and
    what is no image. A folder named as one of ``reserved``, which results lie in, gives ids with
    an underscore behind that name. ``channels`` is as in
    :func:`open_images`.

    Raises :class:`DataError` where the path does not exist or holds no image, where channel files
    are missing, and where two images would have one id.
    """
    root = Path(path)
    if not root.is_dir() or is_image(root):
        return InputImages(_named(open_images(root, channels=channels)))
    found = _walk(root, out)
    if root not in found.folders:
        described = any((root / name).exists() for name in _DESCRIBES)
        # Pictures may also stand in annotation files alone.
        if described or found.has_masks or not found.folders:
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
class _VisitedFolders:
    folders: tuple[Path, ...]
    remarks: tuple[str, ...]
    has_masks: bool


def _walk(root: Path, out: Path | None) -> _VisitedFolders:
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
    return _VisitedFolders(tuple(folders), tuple(remarks), bool(skipped["masks"]))


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
            elif is_mask_folder(name):
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
        # Some systems take names for one that differ in capitals or in how an accent is written.
        earlier = places.setdefault(name_key(case.id), case)
        if earlier is not case:
            first, second = (
                str(one.images[0]) if one.images else one.id for one in (earlier, case)
            )
            raise DataError(
                f"{first} and {second} would both be predicted as '{case.id}' and overwrite each "
                "other; rename one."
            )
    return tuple(cases)


def _gathered(paths: Sequence[Path], channels: int | None) -> dict[str, tuple[Path, ...]]:
    """Decide whether the endings _0000, _0001 … count channels or images."""
    single: dict[str, tuple[Path, ...]] = {stem_of(path): (path,) for path in paths}
    if channels == 1 and not all(stem_of(path).endswith("_0000") for path in paths):
        return single
    grouped = group_channels(paths)
    numbers = {tuple(stem_of(path)[-5:] for path in files) for files in grouped.values()}
    counts = {len(files) for files in grouped.values()}
    expected = tuple(f"_{number:04d}" for number in range(max(counts)))
    if channels is not None and channels > 1:
        short = [name for name, files in grouped.items() if len(files) != channels]
        if short and counts != {1}:
            raise DataError(
                f"{paths[0].parent} holds {len(grouped[short[0]])} of {channels} channel files "
                f"({short[0]}_0000 …) for {len(short)} cases; add the missing files."
            )
        return grouped if counts == {channels} else single
    # One id with every file as its channel is far more often a numbered sequence of pictures.
    is_nnunet = paths[0].parent.name.startswith("imagesT")
    sequence = len(grouped) == 1 and len(paths) > 1 and not is_nnunet
    return grouped if numbers == {expected} and not sequence else single
