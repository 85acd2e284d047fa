"""Name classes as segmentations of 3D Slicer do, whose values may differ from file to file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rareseg.data.layouts.listing import Listing, number_classes
from rareseg.data.masks.renumbered import Renumbered
from rareseg.errors import ReadError
from rareseg_runner.formats import segments


def with_segment_names(listing: Listing) -> Listing:
    """Return a listing whose classes are called as the segments in its NRRD masks.

    Where a name has one value in all files, and a value one name, files stay what they are.
    Otherwise, and where ``dataset.json`` gives the names other values, each file's are brought to
    common ones. A file without names stays.
    """
    named = {
        case.mask: found
        for case in listing.cases
        if isinstance(case.mask, Path)
        and case.mask.name.lower().endswith((".nrrd", ".dcm"))
        and (found := segment_values(case.mask))
    }
    if not named:
        return listing
    seen = {both for found in named.values() for both in found.items()}
    names, values = {name for name, _ in seen}, {value for _, value in seen}
    known = set(listing.declared.labels or ())
    if known and not names <= known:
        return listing
    if not known and len(names) == len(seen) == len(values):
        labels = dict(sorted(seen, key=lambda both: both[1]))
        declared = replace(listing.declared, labels=labels, named_by_files=True)
        return replace(listing, declared=declared)
    declared = number_classes(names, listing.declared)
    common = declared.labels or {}
    cases = []
    for case in listing.cases:
        found = named.get(case.mask, {}) if isinstance(case.mask, Path) else {}
        changed = tuple((value, common[name]) for name, value in found.items())
        if any(old != new for old, new in changed) and isinstance(case.mask, Path):
            case = replace(case, mask=Renumbered(case.mask, changed))
        cases.append(case)
    note = "segments of one name are one class, whatever their values in each file"
    return replace(listing, cases=tuple(cases), declared=declared, notes=(*listing.notes, note))


def segment_values(path: Path) -> dict[str, int]:
    """Return the values of the named segments in an NRRD file; {} where it names none."""
    try:
        found = {segment.name: segment.value for segment in segments(path) if segment.name}
    except ReadError:
        return {}  # whoever reads the mask says what is wrong with it
    return found if len(set(found.values())) == len(found) else {}
