"""The layout of COCO: one JSON file of images, categories and annotations, or one a split.

Read are polygons and run lengths, plain and compressed. Regions of a crowd (``iscrowd``) are drawn
as their category. Boxes say no pixels and are refused. Roboflow, Label Studio, CVAT, FiftyOne and
others export the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg.data.layouts.annotation_files.entries import (
    LARGEST_VALUE,
    RULE,
    ImageEntry,
    declare,
    listing_of,
    note_spurious,
    special_value,
)
from rareseg.data.layouts.annotation_files.json_text import json_files, members
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_shapes import ColumnRuns, Shape, outline, whole_numbers
from rareseg.errors import DataError

_OTHER_TASKS = re.compile(
    r"^(captions|person_keypoints|image_info|panoptic|stuff|lvis_.*image_info)"
)


def _files(tree: FileTree) -> list[Path]:
    """Return the COCO files; of the original's, those of objects alone."""
    found = json_files(tree, "coco")
    if any(path.name.startswith("instances_") for path in found):
        found = [path for path in found if not _OTHER_TASKS.match(path.name)]
    return found


def _recognise(tree: FileTree) -> str | None:
    files = _files(tree)
    if not files:
        return None
    more = f" (as are {len(files) - 1} more)" if len(files) > 1 else ""
    return f"{files[0].relative_to(tree.root).as_posix()} is a COCO file{more}"


@dataclass
class _CocoContent:
    """What one COCO file holds: annotations by the id of their image."""

    images: dict[Any, ImageEntry] = field(default_factory=dict)
    categories: dict[Any, str] = field(default_factory=dict)
    objects: dict[Any, list[tuple[Any, Shape | None, str]]] = field(default_factory=dict)
    lost: set[Any] = field(default_factory=set)
    n_crowds: int = 0


def _read(tree: FileTree) -> Listing:
    """List the images of all COCO files of a folder, or of the one that was named.

    An image without annotations holds nothing. A picture that no file names has no mask.

    Raises:
        DataError: a file is damaged, or names no picture that is there.
    """
    files = _files(tree)
    if not files:
        raise DataError(f"{tree.file or tree.root} holds no COCO file; allowed is one of JSON.")
    pictures = Pictures(tree)
    problems, notes = Remarks(), Remarks()
    contents = [_content(path, pictures, problems) for path in files]
    n_found = sum(len(content.images) for content in contents)
    if not n_found:
        lost = sum(len(content.lost) for content in contents)
        raise DataError(
            f"{files[0]} describes {lost} images, none of which lies in {pictures.root}; put the "
            "pictures there, or give the folder that holds both as DATA."
        )
    values = _values([content.categories for content in contents])
    entries: list[ImageEntry] = []
    for path, content in zip(files, contents, strict=True):
        _join(path, content, problems)
        entries += content.images.values()
        if content.n_crowds:
            notes.add(
                f"{path.name}: {content.n_crowds} regions of a crowd are drawn as their category.",
                "",
            )
    note_spurious(entries, problems, notes)
    used = {label for entry in entries for label in entry.labels}
    declared, name_notes = declare(values, used)
    n_empty = sum(not entry.shapes for entry in entries)
    said = [
        f"{n_empty} of {len(entries)} images have no annotations and count as negatives; {RULE}.",
        *notes.sentences(),
        *name_notes,
    ]
    return listing_of(
        pictures,
        [(entry.picture, entry.mask(values), entry.role) for entry in entries],
        declared,
        problems,
        said,
        undescribed=pictures.others(),
    )


def _content(path: Path, pictures: Pictures, problems: Remarks) -> _CocoContent:
    """Read a COCO file in one pass; what is wrong with single entries goes to ``problems``."""
    content = _CocoContent()
    folders = pictures.folders_of(path)
    role = role_in(path.stem, *reversed(folders))
    near = "/".join([*folders, *re.findall("[A-Za-z]+[0-9]*", path.stem)])
    seen = set()
    for key, value in members(path):
        if key in ("images", "annotations", "categories"):
            seen.add(key)
            if not isinstance(value, dict):
                problems.add(
                    f"{path} holds entries among '{key}' that are no objects: {{}}; remove them.",
                    str(value)[:40],
                )
            elif key == "images":
                _image(value, path, content, pictures, near, problems)
            elif key == "categories":
                content.categories[_key(value.get("id"))] = str(value.get("name", value.get("id")))
            else:
                _annotation(value, path, content, problems)
    if "images" not in seen:
        raise DataError(f"{path} holds no images; a COCO file lists them under 'images'.")
    for entry in content.images.values():
        entry.role = role or role_in(*reversed(pictures.relative(entry.picture).split("/")[:-1]))
    return content


def _key(value: Any) -> Any:
    """Return an id as it is looked up: numbers and their text are one id, lists are none."""
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    return value if isinstance(value, (int, str)) else None


def _image(
    value: Mapping[str, Any],
    path: Path,
    content: _CocoContent,
    pictures: Pictures,
    near: str,
    problems: Remarks,
) -> None:
    name, key = value.get("file_name"), _key(value.get("id"))
    if not isinstance(name, str) or key is None:
        problems.add(
            f"{path} holds images without 'id' or 'file_name': {{}}; complete them.",
            str(value.get("file_name", value.get("id"))),
        )
        return
    picture = pictures.find(name, near)
    if picture is None:
        content.lost.add(key)
        problems.add(
            f"{path} describes images that are not in {pictures.root}: {{}}; add them, or remove "
            "their entries.",
            name,
        )
        return
    if key in content.images:
        problems.add(f"{path} gives one id to several images: {{}}; number them anew.", str(key))
        return
    width, height = value.get("width"), value.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    content.images[key] = ImageEntry(name, picture, path, size if size != (0, 0) else None)


def _annotation(
    value: Mapping[str, Any], path: Path, content: _CocoContent, problems: Remarks
) -> None:
    """Keep an annotation as a shape, with the ids of its image and category."""
    where = f"annotation {value.get('id', '?')}"
    try:
        shape = _shape(value.get("segmentation"))
    except DataError as error:
        problems.add(
            f"{path} holds annotations that cannot be read: {{}}; export them again.",
            f"{where}: {str(error).rstrip('.')}",
        )
        return
    if shape is _BOX:
        problems.add(
            f"{path} holds {{}} annotations that are boxes without an outline, which say no "
            "pixels; draw outlines or masks, or remove them.",
            where,
        )
        return
    content.n_crowds += value.get("iscrowd") == 1
    kept = content.objects.setdefault(_key(value.get("image_id")), [])
    kept.append((_key(value.get("category_id")), shape, where))


class _Box(Shape):
    """Stands for an annotation without pixels."""

    def draw(self, size: tuple[int, int]) -> Any:
        """Never called."""
        raise DataError("a box says no pixels")


_BOX = _Box()


def _shape(segmentation: Any) -> Shape | None:
    """Return what a segmentation draws; None where it encloses nothing."""
    if segmentation in (None, [], {}, ""):
        return _BOX
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if (
            not isinstance(size, list)
            or len(size) != 2
            or not all(isinstance(side, int) for side in size)
        ):
            raise DataError("run lengths need their size, [height, width]")
        counts = segmentation.get("counts")
        if isinstance(counts, str):
            return ColumnRuns(counts, *size)
        return ColumnRuns(whole_numbers(counts, "run lengths"), *size)
    if not isinstance(segmentation, list):
        raise DataError(f"a segmentation is {str(segmentation)[:40]!r}")
    if not isinstance(segmentation[0], (list, dict)):
        return outline([segmentation])  # one polygon without the list round it
    if len(segmentation) > 2 and all(
        isinstance(part, list) and len(part) == 2 for part in segmentation
    ):
        return outline([segmentation])  # one polygon as a list of corners
    return outline(segmentation)


def _values(categories: list[dict[Any, str]]) -> dict[str, int]:
    """Return the mask value of each category: its id where all are 1 to 254, else its rank.

    Files of several splits are one data set: categories of one name are one class.
    """
    ids: dict[str, Any] = {}
    for one in categories:
        for key, name in one.items():
            ids.setdefault(name, key)
    found = list(ids.values())
    if len(set(found)) == len(found) and all(
        isinstance(key, int) and 1 <= key <= LARGEST_VALUE for key in found
    ):
        return {
            name: key if (value := special_value(name)) is None else value
            for name, key in ids.items()
        }
    ranked = sorted(ids, key=lambda name: (not isinstance(ids[name], int), ids[name]))
    return {
        name: rank + (rank > LARGEST_VALUE) if (value := special_value(name)) is None else value
        for rank, name in enumerate(ranked, start=1)
    }


def _join(path: Path, content: _CocoContent, problems: Remarks) -> None:
    """Give each image its annotations."""
    for key, objects in content.objects.items():
        entry = content.images.get(key)
        if entry is None and key in content.lost:
            continue  # that its image is not there was said
        for category, shape, where in objects:
            if entry is None:
                problems.add(
                    f"{path} holds annotations of images that it does not list: {{}}; add the "
                    "images, or remove them.",
                    f"{where} of image {key}",
                )
            elif category not in content.categories:
                problems.add(
                    f"{path} holds annotations of categories that it does not list: {{}}; add the "
                    "categories, or remove them.",
                    f"{where} of category {category}",
                )
            else:
                entry.add(content.categories[category], shape, where)


register(
    Layout(
        "coco",
        "COCO files (also of Roboflow, CVAT and others)",
        _recognise,
        _read,
        lists_files=True,
    )
)
