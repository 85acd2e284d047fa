"""Open a data set: a folder, a manifest or Python objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rareseg.data.layouts import FileTree, Listing, Recognised, recognise
from rareseg.data.layouts.listed_cases import (
    channel_problems,
    identity_problems,
    with_clean_ids,
)
from rareseg.data.layouts.medical.slicer_names import with_segment_names
from rareseg.data.layouts.unread_files import Unread, find_unread
from rareseg.data.masks.ruled_mask import with_rules
from rareseg.data.records import Case, Dataset, MaskRules
from rareseg.errors import DataError, UsageError
from rareseg_runner.formats import IMAGE_SUFFIXES
from rareseg_runner.formats.reader_guard import guarded

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
    with guarded(path, "a data set"):
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
    cases, renamed = with_clean_ids(listing.cases)
    notes = (*notes, *renamed)
    if group_from is not None:
        cases, unmatched = _grouped(cases, group_from)
        problems += unmatched
    if not cases:
        problems.append(f"{root} holds no images; add some ({', '.join(IMAGE_SUFFIXES)}).")
    problems += identity_problems(cases, root)
    problems += channel_problems(cases)
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
