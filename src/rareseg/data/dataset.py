"""Open a data set: a folder, a manifest or Python objects."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rareseg.data.file_names import clean_name, clean_path
from rareseg.data.formats import IMAGE_SUFFIXES, is_image, stem_of
from rareseg.data.layouts import FileTree, Listing, Recognised, group_channels, recognise
from rareseg.data.layouts.medical.slicer_names import with_segment_names
from rareseg.data.layouts.unread_files import Unread, find_unread
from rareseg.data.masks.ruled_mask import with_rules
from rareseg.data.records import Case, Dataset, MaskRules
from rareseg.errors import DataError, UsageError

MissingMask = Literal["error", "negative"]
AS_IT_IS = MaskRules()
"""Masks are read as they stand in their files."""


def open_dataset(
    data: Path | str | Sequence[Case],
    *,
    group_from: str | None = None,
    missing_mask: MissingMask = "error",
    layout: str | None = None,
    mask_name: str | None = None,
    folder_split: bool = True,
    rules: MaskRules = AS_IT_IS,
) -> Dataset:
    """List the cases of a folder, a manifest or a sequence of cases; reads no pixels.

    ``group_from`` is a regular expression searched in every id; its group named ``group``, or its
    first, is the case's group. ``missing_mask="negative"`` takes an image without a mask as one
    that holds nothing. ``layout`` names one of :func:`rareseg.data.layouts.layouts` where the
    folder's names are not to decide. ``mask_name`` says how masks are called after their images,
    as ``{id}_mask``; ``folder_split=False`` takes no role from folders such as ``train``, nor from
    lists. ``rules`` say how mask files are read. Faults of single cases and of files that are not
    read are collected in ``Dataset.problems``.

    Raises:
        DataError: the path does not exist, has no known layout, or what describes it is broken.
        UsageError: ``group_from`` is no regular expression, has no group or matches no id, no
            layout is called so, ``mask_name`` does not name the image's part, or the order of
            overlapping drawings cannot be turned round.
    """
    tree, listing, taken = _listed(data, layout, mask_name)
    listing = _with_split(listing, wanted=folder_split)
    root = Path() if tree is None else tree.root
    problems = _missing_masks(listing, root, told=missing_mask == "negative")
    unread = Unread()
    if tree is not None and taken is not None:
        listed = taken.layout.lists_files
        unread = find_unread(tree, listing, ignored=rules.ignore_unread, listed=listed)
    problems += unread.faults
    listing = replace(listing, notes=(*listing.notes, *unread.notes))
    dataset = _assembled(root, listing, taken, group_from, problems)
    return replace(
        dataset,
        cases=with_rules(dataset.cases, rules),
        ignore_value=dataset.ignore_value if rules.ignore_value is None else rules.ignore_value,
        warnings=unread.warnings,
        rules=rules,
    )


def open_annotations(
    data: Path | str | Sequence[Case], *, group_from: str | None = None
) -> Dataset:
    """List the cases of a data set for what its annotators drew; reads no pixels.

    As :func:`open_dataset`, but a case without a mask of its own is no problem: that mask is what
    is still to be made, and a case that nobody has looked at yet has no annotations.

    Raises:
        DataError: as :func:`open_dataset`, and where no case has annotations.
        UsageError: as :func:`open_dataset`.
    """
    tree, listing, taken = _listed(data)
    root = Path() if tree is None else tree.root
    if not any(case.annotations for case in listing.cases):
        raise DataError(
            f"{data if isinstance(data, (str, Path)) else 'The data set'} names no masks of "
            "annotators; give a manifest.csv with a column mask_NAME for each of them (the word "
            "'empty' where one looked and drew nothing)."
        )
    return _assembled(root, listing, taken, group_from, [])


def _listed(
    data: Path | str | Sequence[Case], layout: str | None = None, mask_name: str | None = None
) -> tuple[FileTree | None, Listing, Recognised | None]:
    """Return the files of a data set, what its layout lists, and which that was."""
    if not isinstance(data, (str, Path)):
        return None, Listing(tuple(data)), None
    path = Path(data)
    if not path.exists():
        raise DataError(f"{path} does not exist; correct the path.")
    tree = FileTree(path, mask_name=mask_name)
    taken = recognise(tree, layout)
    return tree, with_segment_names(taken.layout.read(tree)), taken


def _with_split(listing: Listing, *, wanted: bool) -> Listing:
    """Take over the split that folders or lists tell, and say so, or decline it."""
    if not listing.split_from:
        return listing
    if not wanted:
        return listing.without_split()
    note = f"the split is taken over from {listing.split_from} (--no-folder-split declines it)"
    return replace(listing, notes=(*listing.notes, note))


def _assembled(
    root: Path,
    listing: Listing,
    taken: Recognised | None,
    group_from: str | None,
    unlabelled: Sequence[str],
) -> Dataset:
    """Make the data set of a listing; ``unlabelled`` are the problems of masks that are missing."""
    notes = listing.notes
    if taken is not None and taken.others:
        notes = (
            f"{root} could also be read as {' or '.join(taken.others)}; --layout NAME says so.",
            *notes,
        )
    problems = [*listing.problems, *unlabelled]
    cases, renamed = _with_clean_ids(listing.cases)
    notes = (*notes, *renamed)
    if group_from is not None:
        cases, unmatched = _grouped(cases, group_from)
        problems += unmatched
    if not cases:
        problems.append(f"{root} holds no images; add some ({', '.join(IMAGE_SUFFIXES)}).")
    problems += _identity_problems(cases, root)
    problems += _channel_problems(cases)
    declared = listing.declared
    return Dataset(
        root=root,
        layout="cases" if taken is None else taken.layout.name,
        cases=cases,
        labels=declared.labels,
        regions=declared.regions,
        ignore_value=declared.ignore_value,
        channel_names=declared.channel_names,
        problems=tuple(problems),
        layout_reason="" if taken is None else taken.reason,
        notes=notes,
        named_by_files=declared.named_by_files,
    )


def open_images(path: Path | str, *, channels: int | None = None) -> tuple[Case, ...]:
    """List images to predict, without masks: one file, a DICOM series, a folder, or a data set.

    In a plain folder, files ``ID_0000.ext … ID_000n.ext`` are the channels of one case where
    every case has the same ones; ``channels`` says how many files a case has (1: each file is a
    case of its own) and decides where names alone are ambiguous.

    Raises:
        DataError: the path does not exist, holds no image, or a case lacks channel files.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; correct the path.")
    if is_image(path):
        return (Case(stem_of(path), (path,), None),)
    if path.is_file() and path.suffix.lower() != ".csv":
        raise DataError(f"{path} is no image; allowed are {', '.join(IMAGE_SUFFIXES)}.")
    found = FileTree(path).images("") if path.is_dir() else []
    if not found:
        return tuple(replace(case, mask=None) for case in open_dataset(path).cases)
    grouped = _gathered(found, channels)
    repeated = [name for name, count in Counter(stem_of(p) for p in found).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path} holds several images named {repeated[0]}; their results would overwrite each "
            "other, so rename one."
        )
    return tuple(Case(name, paths, None) for name, paths in grouped.items())


def _missing_masks(listing: Listing, root: Path, *, told: bool) -> list[str]:
    """Return a problem for each image without a mask, unless it is told that those hold nothing.

    What annotators looked at is never taken to hold nothing.
    """
    cases = {case.id: case for case in listing.cases}
    problems = []
    for name in listing.missing:
        case = cases[name]
        file = case.images[0] if case.images else root
        if case.annotations:
            problems.append(
                f"{file} has masks of annotators alone (columns mask_NAME); make one mask of them "
                "with `rareseg consensus`, or name one in a manifest's column mask. If the columns "
                "are classes, with regions of their own, call them mask_class_NAME."
            )
        elif not told:
            problems.append(
                f"{file} has no mask; add it, or say that images without a mask hold nothing "
                "(--missing-mask negative, or a negatives/ folder, or the word 'empty' in a "
                "manifest)."
            )
    return problems


def _grouped(cases: Sequence[Case], pattern: str) -> tuple[tuple[Case, ...], list[str]]:
    """Return the cases with groups read from their ids, and a problem where some do not match."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--group-from {pattern!r} is no regular expression ({error}); correct it."
        ) from error
    if regex.groups == 0:
        raise UsageError(
            f"--group-from {pattern!r} has no group; put parentheses around the part of the id "
            r"that names the patient or object, as in '(.+)_slice\d+'."
        )
    key: str | int = "group" if "group" in regex.groupindex else 1
    found = {case.id: regex.search(case.id) for case in cases}
    groups = {name: match[key] for name, match in found.items() if match and match[key]}
    if cases and not groups:
        raise UsageError(
            f"--group-from {pattern!r} matches none of the {len(cases)} ids (the first is "
            f"'{cases[0].id}'); correct the expression."
        )
    unmatched = [name for name in found if name not in groups]
    problems = []
    if unmatched:
        problems.append(
            f"--group-from {pattern!r} does not match {len(unmatched)} of {len(cases)} ids (the "
            f"first is '{unmatched[0]}'); widen the expression."
        )
    return tuple(replace(case, group=groups.get(case.id)) for case in cases), problems


def _with_clean_ids(cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases under ids that can name files, and a note where any were changed.

    An id that would be another case's, or empty, stays, and is a problem.
    """
    taken = {case.id for case in cases}
    kept, changed = [], []
    for case in cases:
        clean = clean_path(case.id).replace("/", "_")
        if case.id and clean != case.id and clean not in taken:
            taken.add(clean)
            changed.append(f"'{case.id}' is '{clean}'")
            case = replace(case, id=clean)
        kept.append(case)
    note = (
        f"{len(changed)} names cannot name result files and are changed: {changed[0]}"
        if changed
        else ""
    )
    return tuple(kept), (note,) if note else ()


def _channel_problems(cases: Sequence[Case]) -> list[str]:
    """Find cases whose files end in other channel numbers than those of most cases."""
    endings = {case.id: tuple(_channel_of(path) for path in case.images) for case in cases}
    counts = Counter(found for found in endings.values() if len(found) > 1 and None not in found)
    if len(counts) < 2:
        return []
    usual = counts.most_common(1)[0][0]
    return [
        f"{case.images[0]} and the others of case '{case.id}' are the channels "
        f"{_numbers(endings[case.id])} where most cases have {_numbers(usual)}; rename or add the "
        "files, so that a number means the same channel everywhere."
        for case in cases
        if endings[case.id] in counts
        and endings[case.id] != usual
        and len(endings[case.id]) == len(usual)
    ]


def _channel_of(path: Path) -> str | None:
    found = re.search(r"_(\d{4})$", stem_of(path))
    return found[1] if found else None


def _numbers(channels: tuple[str | None, ...]) -> str:
    return ", ".join(f"_{number}" for number in channels)


def _identity_problems(cases: Sequence[Case], root: Path) -> list[str]:
    """Find ids that occur twice or cannot name a file."""
    files: dict[str, list[str]] = {}
    for case in cases:
        files.setdefault(case.id, []).append(str(case.images[0]) if case.images else "no image")
    problems = [
        f"{root} gives the id '{name}' to {len(places)} cases ({', '.join(places[:3])}); "
        "rename all but one."
        for name, places in files.items()
        if len(places) > 1
    ]
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for name in files:
        seen[unicodedata.normalize("NFC", name)].append(name)
    problems += [
        f"{root} gives the id '{names[0]}' to {len(names)} cases whose names differ only in how "
        f"an accent is written ({', '.join(files[name][0] for name in names[:3])}); "
        "rename all but one."
        for names in seen.values()
        if len(names) > 1
    ]
    problems += [
        f"{places[0]} has the id '{name}', which cannot name a result file; use letters, digits, "
        "'.', '-' and '_'."
        for name, places in files.items()
        if not name or name.startswith(".") or clean_name(name) != name
    ]
    return problems


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
