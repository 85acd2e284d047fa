"""The layouts of Label Studio: its JSON (brushes and polygons), and its masks, which need it.

Both forms of the JSON are read, the full one and JSON-MIN. Coordinates are percents of the image;
brushes are run lengths of an RGBA picture. Masks that Label Studio writes are named after the
number of a task, which the JSON alone knows; the JSON holds the drawings as well, so it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from rareseg.data.layouts.annotation_files.entries import (
    RULE,
    ImageEntry,
    declare,
    listing_of,
    note_spurious,
    number_labels,
)
from rareseg.data.layouts.annotation_files.json_text import json_files, members
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_shapes import BrushRuns, Ellipse, Shape, numbers, outline
from rareseg.errors import DataError

_MASK = re.compile(r"task-(?P<task>\d+)-annotation-\d+-by-.*-tag-(?P<name>.+)-\d+\.(png|npy)")
_UPLOADED = re.compile(r"[0-9a-f]{6,8}-(?P<name>.+)")
_AREAS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")
_PLAIN = ("brush", "polygon", "rectangle", "ellipse")


def _recognise(tree: FileTree) -> str | None:
    files = json_files(tree, "label_studio")
    if not files:
        return None
    return f"{files[0].relative_to(tree.root).as_posix()} is an export of Label Studio"


def _read(tree: FileTree) -> Listing:
    """List the pictures of the tasks; a task without results holds nothing, one not done no mask.

    Of several annotations of a task the last one that was not cancelled is taken.

    Raises:
        DataError: a file is damaged, or names no picture that is there.
    """
    files = json_files(tree, "label_studio")
    if not files:
        raise DataError(f"{tree.file or tree.root} holds no JSON export of Label Studio.")
    pictures, problems, notes = Pictures(tree), Remarks(), Remarks()
    entries: list[ImageEntry] = []
    for path in files:
        for key, task in members(path):
            if key == "" and isinstance(task, dict):
                _task(task, path, pictures, entries, problems, notes)
    if not entries:
        raise DataError(
            f"{files[0]} names no picture that lies in {pictures.root}; put the pictures there"
            f"{''.join(f' ({said})' for said in problems.sentences()[:1])}."
        )
    used = sorted({label for entry in entries for label in entry.labels})
    values = number_labels(used)
    declared, name_notes = declare(values, used)
    note_spurious(entries, problems, notes)
    n_empty = sum(not entry.shapes for entry in entries)
    said = [
        f"{n_empty} of {len(entries)} tasks are annotated with nothing and count as negatives; "
        f"{RULE}.",
        *notes.sentences(),
        *name_notes,
    ]
    masks = [(entry.picture, entry.mask(values), entry.role) for entry in entries]
    return listing_of(
        pictures,
        masks,
        declared,
        problems,
        said,
        undescribed=pictures.others(),
    )


def _task(
    task: Mapping[str, Any],
    path: Path,
    pictures: Pictures,
    entries: list[ImageEntry],
    problems: Remarks,
    notes: Remarks,
) -> None:
    """Enter a task that is done."""
    results = _results(task, notes)
    if results is None:
        notes.add("{} tasks are not annotated, or cancelled.", f"task {task.get('id', '?')}")
        return
    names = list(_names(task))
    picture = next((found for name in names if (found := pictures.find(name))), None)
    if picture is None:
        problems.add(
            f"{path} names pictures that are not in {pictures.root}: {{}}; download them there.",
            names[0] if names else f"task {task.get('id', '?')}",
        )
        return
    entry = ImageEntry(
        names[0], picture, path, None, role_in(*pictures.relative(picture).split("/")[-2::-1])
    )
    for result in results:
        _result(result, entry, problems, path)
    entries.append(entry)


def _results(task: Mapping[str, Any], notes: Remarks) -> list[Any] | None:
    """Return what was drawn in a task; None where nobody looked."""
    if "annotations" not in task and "data" not in task:  # JSON-MIN
        found: list[Any] = []
        for key, value in task.items():
            if key not in ("image", "id") and isinstance(value, list):
                found += value
        return found
    done = [
        one
        for one in task.get("annotations") or []
        if isinstance(one, dict) and not one.get("was_cancelled")
    ]
    if not done:
        return None
    if len(done) > 1:
        notes.add(
            "{} tasks have several annotations, of which the last is taken.",
            f"task {task.get('id', '?')}",
        )
    result = done[-1].get("result")
    return result if isinstance(result, list) else []


def _names(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that a task's picture may have: as uploaded, and before Label Studio's."""
    data = task.get("data", task)
    given = (
        [value for value in data.values() if isinstance(value, str)]
        if isinstance(data, dict)
        else []
    )
    for text in sorted(given, key=lambda text: "image" not in text):
        address = urlparse(text)
        local = parse_qs(address.query).get("d", [""])[0]
        name = unquote(local or address.path)
        yield name
        uploaded = _UPLOADED.fullmatch(re.split(r"[/\\]", name)[-1])
        if uploaded:
            yield uploaded["name"]


def _result(result: Any, entry: ImageEntry, problems: Remarks, path: Path) -> None:
    """Add what one result draws to its picture."""
    if not isinstance(result, dict):
        return
    value = result.get("value", result)
    if not isinstance(value, dict):
        problems.add(
            f"{path} holds results that cannot be read: {{}}; export it again.",
            f"a result on {entry.name} without a value",
        )
        return
    kind = str(result.get("type") or next((k for k in _AREAS if k in value), ""))
    if kind not in _AREAS and kind not in _PLAIN:
        if kind.startswith(("keypoint", "vector")):
            problems.add(
                f"{path} holds points or lines, which have no area: {{}}; draw areas, or remove "
                "them.",
                f"{kind} on {entry.name}",
            )
        return  # choices, texts and labels of regions that are drawn elsewhere
    labels = next((value[k] for k in (kind, *_AREAS, "labels") if value.get(k)), None)
    if not isinstance(labels, list) or not labels:
        labels = ["foreground"]
    width, height = (
        value.get(key, result.get(key)) for key in ("original_width", "original_height")
    )
    try:
        if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
            raise DataError("original_width or original_height is missing")
        entry.size = (width, height)
        entry.add(str(labels[0]), _shape(kind, value, (width, height)), kind)
    except (DataError, KeyError, ValueError, TypeError) as error:
        problems.add(
            f"{path} holds results that cannot be read: {{}}; export it again.",
            f"{kind} on {entry.name}: {str(error).rstrip('.')}",
        )


def _shape(kind: str, value: Mapping[str, Any], size: tuple[int, int]) -> Shape | None:
    """Return what a result draws, percents being turned to pixels."""
    width, height = size
    scale = np.array(size) / 100
    if kind.startswith("polygon"):
        points = numbers(value["points"], "points of a polygon").reshape(-1, 2)
        return outline([points * scale])
    if kind.startswith("brush"):
        if value.get("format", "rle") != "rle":
            raise DataError(f"a brush has the format '{value.get('format')}'")
        if not isinstance(value["rle"], list):
            raise DataError("a brush holds no list of bytes")
        return BrushRuns(bytes(value["rle"]), height, width)
    keys = (
        ("x", "y", "width", "height")
        if kind.startswith("rect")
        else ("x", "y", "radiusX", "radiusY")
    )
    x, y, across, down = (
        numbers([value[key] for key in keys], "numbers of a shape") * [*scale, *scale]
    ).tolist()
    degrees = float(value.get("rotation") or 0)
    if not kind.startswith("rect"):
        return Ellipse(x, y, across, down, degrees)
    # Label Studio turns rectangles round their upper left corner.
    turn = np.deg2rad(degrees)
    axes = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    corners = np.array([(0, 0), (across, 0), (across, down), (0, down)])
    return outline([corners @ axes + (x, y)])


def _recognise_masks(tree: FileTree) -> str | None:
    if tree.file is not None or json_files(tree, "label_studio"):
        return None
    found = _first_mask(tree)
    return f"{found} is named after a task of Label Studio" if found else None


def _first_mask(tree: FileTree) -> str | None:
    for folder, files in tree.walk():
        for name in files:
            if _MASK.fullmatch(name):
                return f"{folder}/{name}".lstrip("/")
    return None


def _refuse_masks(tree: FileTree) -> Listing:
    """Raise DataError: which mask belongs to which picture, the JSON alone says."""
    raise DataError(
        f"{tree.root} holds masks of Label Studio ({_first_mask(tree)}), which are named after the "
        "number of a task and not after a picture; export the project as JSON as well and put the "
        "file there: it says which picture a task is, and holds the drawings."
    )


register(
    Layout("label_studio", "a JSON export of Label Studio", _recognise, _read, lists_files=True)
)
register(
    Layout(
        "label_studio_masks",
        "masks of Label Studio, which need its JSON export",
        _recognise_masks,
        _refuse_masks,
        lists_files=True,
    )
)
