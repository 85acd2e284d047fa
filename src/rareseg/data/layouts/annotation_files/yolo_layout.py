"""The layout of YOLO with segments: pictures in images/, text files in labels/, names in data.yaml.

A line is the number of a class, from 0 on, and the corners x y x y … as shares of the image's width
and height. Read are segments alone: boxes (four numbers) say no pixels and are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.layouts.annotation_files.entries import (
    LARGEST_VALUE,
    RULE,
    declare,
    listing_of,
    special_value,
)
from rareseg.data.layouts.annotation_files.json_text import read_text
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_objects import AnnotationSource, Drawing
from rareseg.data.masks.drawn_shapes import outline
from rareseg.data.records import Role
from rareseg.errors import DataError
from rareseg.yaml_files import read_yaml
from rareseg_runner.formats import format_of, stem_of

_SPLITS: Mapping[str, Role] = {"train": "train", "val": "validation", "test": "test"}
_BEYOND = 0.1
"""Shares of the image's size from -0.1 to 1.1 are cut at the border; others are pixels."""
_MOST_YAML = 1 << 20


@dataclass(frozen=True)
class SegmentText(AnnotationSource):
    """A text file of segments, read where the case is; ``values`` are (class, mask value)."""

    file: Path
    entry: str
    values: tuple[tuple[int, int], ...]

    def objects(self, size: tuple[int, int]) -> tuple[None, list[Drawing]]:
        """Return the segments in pixels of an image of this size."""
        known = dict(self.values)
        drawn: list[Drawing] = []
        for number, corners in _lines(self.file):
            shape = outline([corners.reshape(-1, 2) * size])
            assert shape is not None, "lines of fewer corners are refused"
            if number not in known:
                raise DataError(f"the class {number} has no name")
            drawn.append((known[number], shape))
        return None, drawn

    def __repr__(self) -> str:
        return f"SegmentText({self.file.name!r}, {self.values})"


def _lines(path: Path) -> list[tuple[int, np.ndarray]]:
    """Return (class, x y x y …) of each line; raises DataError for a line that is no segment."""
    found = []
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        words = text.split()
        if not words:
            continue
        try:
            numbers = np.array(words, np.float64)
        except ValueError:
            numbers = np.array([np.nan])
        if not np.isfinite(numbers).all() or numbers[0] != int(numbers[0]) or numbers[0] < 0:
            raise DataError(f"line {line} is no class and numbers: '{text[:40]}'")
        if numbers[0] > 65_000:
            raise DataError(f"line {line} is of the class {numbers[0]:.0f}")
        if len(numbers) in (5, 6):
            raise _BoxError(f"line {line} is a box")
        if len(numbers) < 7 or len(numbers) % 2 == 0:
            raise DataError(f"line {line} holds {len(numbers) - 1} coordinates of a segment")
        if numbers[1:].min() < -_BEYOND or numbers[1:].max() > 1 + _BEYOND:
            raise DataError(
                f"line {line} has the coordinate {numbers[1:][np.abs(numbers[1:]).argmax()]:g}, "
                "where shares of width and height from 0 to 1 are needed"
            )
        found.append((int(numbers[0]), numbers[1:]))
    return found


class _BoxError(DataError):
    """A line of four numbers."""


def _description(tree: FileTree) -> tuple[Path, dict[str, Any]] | None:
    """Return the YAML file that names classes, and its content."""
    if tree.file is not None:
        names = [tree.file.name] if tree.file.suffix.lower() in (".yaml", ".yml") else []
    else:
        names = [name for name in tree.files() if name.lower().endswith((".yaml", ".yml"))]
        names.sort(key=lambda name: not name.lower().startswith("data"))
    for name in names[:5]:
        path = tree.path("", name)
        if path.stat().st_size > _MOST_YAML:
            continue
        try:
            content = read_yaml(path)
        except (OSError, ValueError) as error:
            if name.lower().startswith("data") or tree.file is not None:
                raise DataError(f"{path} is no valid YAML ({error}); correct it.") from error
            continue
        if isinstance(content, dict) and "names" in content:
            return path, content
    return None


def _labels_folder(folder: str) -> str | None:
    """Return the folder of the text files of pictures in ``folder``, None outside of images/."""
    parts = folder.split("/")
    at = [k for k, part in enumerate(parts) if part.lower() == "images"]
    if not at:
        return None
    return "/".join([*parts[: at[-1]], "labels", *parts[at[-1] + 1 :]])


def _texts(tree: FileTree) -> dict[str, str]:
    """Return the folders of pictures with their folders of text files, where there are some."""
    found = {}
    for folder, files in tree.walk():
        if not any(format_of(Path(name)) for name in files):
            continue
        labels = _labels_folder(folder)
        if labels is not None and _has_texts(tree, labels):
            found[folder] = labels
        elif labels is None and _has_texts(tree, folder, {stem_of(Path(name)) for name in files}):
            found[folder] = folder
    return found


def _has_texts(tree: FileTree, folder: str, stems: set[str] | None = None) -> bool:
    """Whether text files of numbers lie in a folder; empty ones say neither way."""
    looked = 0
    for name in tree.files(folder):
        if not _is_text(name):
            continue
        if stems is not None and Path(name).stem not in stems:
            continue
        path = tree.path(folder, name)
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                words = file.readline(4096).split()
            looked += 1
            numbers = [_number(word) for word in words]
            # Beside pictures any text may lie: there the numbers must be shares as well.
            far = math.inf if stems is None else 1 + _BEYOND
            if len(words) >= 5 and words[0].isdigit() and all(abs(n) <= far for n in numbers[1:]):
                return True
            if looked == 5:
                return False
    return False


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt") and name != "classes.txt"


def _number(word: bytes) -> float:
    """Return a number, NaN for any other word."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None and tree.file.suffix.lower() not in (".yaml", ".yml"):
        return None
    texts = _texts(tree)
    if not texts:
        return None
    said = _description(tree)
    labels = next(iter(texts.values()))
    where = f"{labels}/" if labels else "it"
    named = f"{said[0].name} names classes and " if said else ""
    return f"{named}{where} holds text files of numbers, as YOLO's are"


def _read(tree: FileTree) -> Listing:
    """List the pictures beside text files of segments.

    A picture without a text file, or with an empty one, holds nothing, as Ultralytics takes it. The
    split is what data.yaml says, or the folders' names.

    Raises:
        DataError: no text file is there, or data.yaml is damaged.
    """
    said = _description(tree)
    texts = _texts(tree)
    if not texts:
        raise DataError(
            f"{tree.root} holds no pictures in images/ with text files in labels/; put them there."
        )
    names = _names(*said) if said else _classes_txt(tree)
    splits = _splits(tree, said[1]) if said else {}
    found = _pictures(tree, texts, names, splits)
    known = names or {number: f"class_{number}" for number in sorted(found.used)}
    values = {
        number: number + 1 + (number >= LARGEST_VALUE)
        if (value := special_value(name)) is None
        else value
        for number, name in known.items()
    }
    declared, name_notes = declare(
        {name: values[number] for number, name in known.items()},
        {known[number] for number in found.used if number in known},
    )
    masks = [
        (path, text and SegmentText(text, path.name, tuple(values.items())), role)
        for path, text, role in found.described
    ]
    notes = [
        f"{found.n_without} pictures have no text file and {found.n_empty} an empty one: they "
        f"count as negatives; {RULE}.",
        *name_notes,
    ]
    return listing_of(
        found.pictures, masks, declared, found.problems, notes, undescribed=found.undescribed
    )


@dataclass
class _YoloPictures:
    """What the folders of pictures hold: each picture with its text file, and what is to be said.

    ``described`` are (picture, text file or None where nothing is drawn, part of the split);
    ``undescribed`` pictures lie where no folder of text files is. ``used`` are the classes drawn.
    """

    pictures: Pictures
    problems: Remarks
    described: list[tuple[Path, Path | None, Role | None]] = field(default_factory=list)
    undescribed: list[Path] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    n_without: int = 0
    n_empty: int = 0


def _pictures(
    tree: FileTree,
    texts: Mapping[str, str],
    names: Mapping[int, str],
    splits: Mapping[str, Role],
) -> _YoloPictures:
    """List the pictures beside text files, with the faults of these."""
    found = _YoloPictures(Pictures(tree), Remarks())
    for folder, files in tree.walk():
        labels = texts[folder] if folder in texts else _labels_folder(folder)
        if labels is None:
            continue
        paths = [path for name in files if format_of(path := tree.path(folder, name))]
        if not tree.path(labels).is_dir():
            found.undescribed += paths
            continue
        own = {Path(name).stem: name for name in tree.files(labels) if _is_text(name)}
        for path in paths:
            role = splits.get(folder) or splits.get(path.name) or role_in(*folder.split("/")[::-1])
            name = own.pop(stem_of(path), None)
            if name is None:
                found.n_without += 1
                found.described.append((path, None, role))
                continue
            text = tree.path(labels, name)
            classes = _classes(text, found.problems)
            found.n_empty += classes == []
            found.used |= set(classes or ())
            found.described.append((path, text if classes != [] else None, role))
            for number in set(classes or ()) - set(names or classes or ()):
                found.problems.add(
                    f"{tree.root} names the classes {min(names)} to {max(names)}, and text files "
                    "hold others: {}; name them in data.yaml.",
                    f"{number} in {labels}/{name}",
                )
        for name in own.values():
            found.problems.add(
                f"{tree.root} holds text files without a picture: {{}}; add the pictures, or "
                "remove them.",
                f"{labels}/{name}",
            )
    return found


def _classes(path: Path, problems: Remarks) -> list[int] | None:
    """Return the classes in a text file; None where it cannot be read, which is a problem."""
    try:
        return [number for number, _ in _lines(path)]
    except _BoxError:
        problems.add(
            f"{path.parent} holds boxes without outlines, which say no pixels, in {{}} text files; "
            "export segments (YOLO's task 'segment').",
            path.name,
        )
    except DataError as error:
        problems.add(
            f"{path.parent} holds text files that are no segments: {{}}; export them again.",
            f"{path.name}, {str(error).rstrip('.')}",
        )
    return None


def _names(path: Path, content: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the classes by their number from 0 on: a list, or an object."""
    names = content["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(str(key).isdigit() for key in names):
        raise DataError(
            f"{path} holds {str(names)[:40]!r} as names; allowed are a list of names, or numbers "
            "from 0 on with names."
        )
    found = {int(key): str(name) for key, name in names.items()}
    if len(set(found.values())) < len(found):
        raise DataError(f"{path} gives one name to several classes; make them differ.")
    return dict(sorted(found.items()))


def _classes_txt(tree: FileTree) -> dict[int, str]:
    """Return the names in a classes.txt, one a line, as Label Studio writes it; {} without one."""
    for folder in ("", "labels"):
        if "classes.txt" in tree.files(folder):
            lines = read_text(tree.path(folder, "classes.txt")).splitlines()
            return dict(enumerate(dict.fromkeys(filter(None, map(str.strip, lines)))))
    return {}


def _splits(tree: FileTree, content: Mapping[str, Any]) -> dict[str, Role]:
    """Return the split of folders, or of the pictures of a list, that data.yaml names.

    What is given to several splits is left to the names of the folders.
    """
    found: dict[str, set[Role]] = {}
    for key, role in _SPLITS.items():
        given = content.get(key)
        for path in given if isinstance(given, list) else [given]:
            if not isinstance(path, str):
                continue
            parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
            names = ["/".join(parts)]
            if path.endswith(".txt") and parts and tree.has(parts[-1]):
                lines = read_text(tree.path("", parts[-1])).splitlines()
                names = [re.split(r"[/\\]", line.strip())[-1] for line in lines]
            for name in names:
                found.setdefault(name, set()).add(role)
    return {name: roles.pop() for name, roles in found.items() if len(roles) == 1}


register(
    Layout(
        "yolo",
        "YOLO segments: images/ and labels/ with data.yaml",
        _recognise,
        _read,
        lists_files=True,
    )
)
