"""Name classes as segmentations of 3D Slicer do, whose values may differ from file to file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rareseg.data.layouts.listing import Listing, number_classes
from rareseg.data.masks.named_values import NamedValues

_HEAD = 1 << 20
"""A header with the names of a hundred segments takes some 50,000 bytes."""
_FIELD = re.compile(rb"^Segment(\d+)_(Name|LabelValue):= ?([^\r\n]*)", re.MULTILINE)


def with_segment_names(listing: Listing) -> Listing:
    """Return a listing whose classes are called as the segments in its NRRD masks.

    Where a name has one value in all files, and a value one name, files stay what they are.
    Otherwise, and where ``dataset.json`` gives the names other values, each file's are brought to
    common ones. A file without names stays.
    """
    segments = {
        case.mask: found
        for case in listing.cases
        if isinstance(case.mask, Path)
        and case.mask.name.lower().endswith(".nrrd")
        and (found := segment_values(case.mask))
    }
    if not segments:
        return listing
    seen = {both for found in segments.values() for both in found.items()}
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
        found = segments.get(case.mask, {}) if isinstance(case.mask, Path) else {}
        changed = tuple((value, common[name]) for name, value in found.items())
        if any(old != new for old, new in changed) and isinstance(case.mask, Path):
            case = replace(case, mask=NamedValues(case.mask, changed))
        cases.append(case)
    note = "segments of one name are one class, whatever their values in each file"
    return replace(listing, cases=tuple(cases), declared=declared, notes=(*listing.notes, note))


def segment_values(path: Path) -> dict[str, int]:
    """Return the values of the named segments in an NRRD file; {} where it names none."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_HEAD)
    except OSError:
        return {}  # whoever reads the mask says what is wrong with it
    if not content.startswith(b"NRRD"):
        return {}
    head = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
    fields = {
        (int(n), key): text.decode("utf-8", "replace") for n, key, text in _FIELD.findall(head)
    }
    numbers = sorted({number for number, _ in fields})
    found = {}
    for number in numbers:
        value = fields.get((number, b"LabelValue"), "").strip()
        name = fields.get((number, b"Name"), "").strip()
        if name and value.isdigit():
            found[name] = int(value)
    return found if len(set(found.values())) == len(found) else {}
