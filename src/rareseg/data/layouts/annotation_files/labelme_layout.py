"""The layout of LabelMe: a JSON file of shapes for each picture.

Read are polygons, rectangles, circles and masks; points and lines hold no area and are refused. The
label ``__ignore__`` marks what counts nowhere, ``_background_`` nothing. Where the picture is no
file of its own, it is read from the JSON file (``imageData``).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.layouts.annotation_files.entries import RULE, declare, listing_of, number_labels
from rareseg.data.layouts.annotation_files.json_text import json_files, read_json
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_objects import AnnotationSource, Drawing
from rareseg.data.masks.drawn_shapes import Bitmap, Ellipse, Shape, numbers, outline, rectangle
from rareseg.data.records import Role
from rareseg.errors import DataError
from rareseg_runner.formats.embedded_picture import KEY

_AREAS = ("polygon", "rectangle", "circle", "mask")


@dataclass(frozen=True)
class ShapesFile(AnnotationSource):
    """A JSON file of shapes, read where the case is; ``values`` are labels with mask values."""

    file: Path
    entry: str
    values: tuple[tuple[str, int], ...]

    def objects(self, size: tuple[int, int]) -> tuple[tuple[int, int] | None, list[Drawing]]:
        """Return the size that the file gives and what it draws."""
        content = read_json(self.file)
        known = dict(self.values)
        drawn = [(known[label], shape) for label, shape, _ in _drawn(content) if shape is not None]
        width, height = content.get("imageWidth"), content.get("imageHeight")
        given = (width, height) if isinstance(width, int) and isinstance(height, int) else None
        return given, drawn

    def __repr__(self) -> str:
        return f"ShapesFile({self.file.name!r}, {self.values})"


def _recognise(tree: FileTree) -> str | None:
    files = json_files(tree, "labelme") if tree.file is None else []
    if not files:
        return None
    return f"{files[0].relative_to(tree.root).as_posix()} is a file of LabelMe"


def _read(tree: FileTree) -> Listing:
    """List the pictures with their JSON files; a picture without one has no mask.

    A file without shapes says that its picture holds nothing.

    Raises:
        DataError: no JSON file describes a picture that is there, or one is damaged.
    """
    pictures, problems = Pictures(tree), Remarks()
    found: list[tuple[Path, Path, list[str] | None, Role | None]] = []
    labels: dict[str, None] = {}
    for folder, files in tree.walk():
        for name in files:
            if not name.lower().endswith(".json"):
                continue
            path = tree.path(folder, name)
            content = read_json(path)
            if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                continue
            picture = _picture(pictures, path, folder, content)
            if picture is None:
                problems.add(
                    f"{tree.root} holds drawings whose picture is not there: {{}}; put the picture "
                    "beside its drawing.",
                    path.relative_to(tree.root).as_posix(),
                )
                continue
            own = _labels(path, content, problems)
            labels |= dict.fromkeys(own or ())
            role = role_in(*reversed(pictures.relative(picture).split("/")[:-1]))
            found.append((path, picture, own, role))
    if not found:
        raise DataError(
            f"{tree.root} holds no picture that a JSON file of LabelMe draws on"
            f"{''.join(f': {said}' for said in problems.sentences()[:1]) or '.'}"
        )
    values = number_labels(sorted(labels))
    declared, name_notes = declare(values, labels)
    given = tuple(values.items())
    masks = [
        (picture, ShapesFile(path, picture.name, given) if own != [] else None, role)
        for path, picture, own, role in found
    ]
    n_inside = sum(path == picture for path, picture, _, _ in found)
    n_empty = sum(mask is None for _, mask, _ in masks)
    return listing_of(
        pictures,
        masks,
        declared,
        problems,
        [
            f"{n_empty} JSON files hold no shapes: their pictures count as negatives; {RULE}.",
            *([f"{n_inside} pictures are read from their JSON files."] if n_inside else []),
            *name_notes,
        ],
        undescribed=pictures.others(),
    )


def _picture(
    pictures: Pictures, path: Path, folder: str, content: Mapping[str, Any]
) -> Path | None:
    """Return the picture that a file draws on: the one it names, else the one of its own name.

    Where neither is there, it is the file itself, if that holds the picture; else None.
    """
    named = content.get("imagePath")
    if isinstance(named, str) and (found := pictures.find(f"{folder}/{named}", folder)):
        return found
    beside = pictures.find(path.stem, folder)
    return path if beside is None and content.get(KEY) else beside


def _labels(path: Path, content: Mapping[str, Any], problems: Remarks) -> list[str] | None:
    """Return the labels that a file draws; None where it cannot be read, which is a problem."""
    found = []
    try:
        for label, shape, kind in _drawn(content):
            found.append(label)
            if shape is None and kind in _AREAS:
                problems.add(
                    f"{path.parent} holds polygons of fewer than three corners, which enclose "
                    "nothing: {}; remove them, or draw them anew.",
                    f"'{label}' in {path.name}",
                )
            elif shape is None:
                problems.add(
                    f"{path.parent} holds points or lines, which have no area: {{}}; draw what "
                    "they mark as polygons, or remove them.",
                    f"{kind} '{label}' in {path.name}",
                )
    except DataError as error:
        problems.add(
            f"{path.parent} holds drawings that cannot be read: {{}}; correct them.",
            f"{path.name}: {str(error).rstrip('.')}",
        )
        return None
    return found


def _drawn(content: Mapping[str, Any]) -> list[tuple[str, Shape | None, str]]:
    """Return label, shape and kind of everything drawn; None for what has no area."""
    found = []
    for entry in content["shapes"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
            raise DataError("a shape has no label")
        kind = str(entry.get("shape_type") or "polygon")
        points = numbers(entry.get("points") or [], "points of a shape")
        if points.size % 2:
            raise DataError("a shape has an odd number of coordinates")
        found.append((entry["label"], _shape(kind, points.reshape(-1, 2), entry), kind))
    return found


def _shape(kind: str, points: np.ndarray, entry: Mapping[str, Any]) -> Shape | None:
    if kind == "polygon":
        return outline([points])
    if kind not in _AREAS:
        return None
    if len(points) < 2:
        raise DataError(f"a {kind} needs two points and has {len(points)}")
    if kind == "rectangle":
        # Two opposite corners, or since LabelMe 6 all four.
        return rectangle(*points[0], *points[1]) if len(points) == 2 else outline([points])
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return Ellipse(float(points[0, 0]), float(points[0, 1]), radius, radius)
    try:
        png = base64.b64decode(str(entry.get("mask") or ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"a mask is no base64 text ({error})") from error
    x, y = np.floor(points.min(0)).astype(int).tolist()
    return Bitmap(png, x, y)


register(
    Layout("labelme", "pictures with JSON files of LabelMe", _recognise, _read, lists_files=True)
)
