"""From the images that an annotation file describes to cases: what all such layouts share."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rareseg.data.layouts.annotation_files.pictures import (
    Pictures,
    Remarks,
    counted,
    listed,
    unique_ids,
)
from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_objects import DrawnObjects
from rareseg.data.masks.drawn_shapes import Shape
from rareseg.data.records import Case, MaskSource, Role
from rareseg_runner.image_records import IGNORE

RULE = (
    "a pixel belongs to an outline where its centre lies inside; objects are drawn in the order of "
    "the file, later ones on top"
)
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f]')
LARGEST_VALUE = 254
"""255 marks what counts nowhere."""


@dataclass
class ImageEntry:
    """What an annotation file says of one image, while it is read.

    ``labels[i]`` names the class of ``shapes[i]``; ``size`` is (width, height) where it is given.
    ``spurious`` are objects that enclose nothing.
    """

    name: str
    picture: Path
    file: Path
    size: tuple[int, int] | None = None
    role: Role | None = None
    labels: list[str] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    spurious: list[str] = field(default_factory=list)

    def add(self, label: str, shape: Shape | None, where: str) -> None:
        """Add an object; one that encloses nothing (``None``) is remembered by ``where``."""
        if shape is None:
            self.spurious.append(where)
        else:
            self.labels.append(label)
            self.shapes.append(shape)

    def mask(self, values: Mapping[str, int]) -> DrawnObjects | None:
        """Return the mask, None where nothing is drawn."""
        if not self.shapes:
            return None
        drawn = tuple(values[label] for label in self.labels)
        return DrawnObjects(self.file, self.name, self.size, drawn, tuple(self.shapes))


def special_value(name: str) -> int | None:
    """Return the mask value of names that mean no class: background 0, ignored areas 255."""
    plain = name.strip("_ ").lower()
    return {"background": 0, "ignore": IGNORE}.get(plain)


def number_labels(known: Iterable[str]) -> dict[str, int]:
    """Return mask values for names of classes, in their order from 1 on, 255 left out.

    Names that mean background or what is ignored have the values of those.
    """
    names = list(dict.fromkeys(known))
    classes = [name for name in names if special_value(name) is None]
    values = {
        name: number if number <= LARGEST_VALUE else number + 1
        for number, name in enumerate(classes, start=1)
    }
    return values | {name: value for name in names if (value := special_value(name)) is not None}


def declare(values: Mapping[str, int], used: Collection[str]) -> tuple[Declared, list[str]]:
    """Return what is declared of the classes that are used, and notes of what is not as written.

    Classes that no object has are left out. A name becomes a folder where masks are written, so
    characters that no folder's name may hold are replaced.
    """
    labels: dict[str, int] = {}
    notes = []
    classes = {name: value for name, value in values.items() if special_value(name) is None}
    unused = [name for name in classes if name not in used]
    if unused:
        notes.append(f"no object is of the classes {listed(unused)}; they are left out.")
    for name, value in sorted(classes.items(), key=lambda item: item[1]):
        if name not in used:
            continue
        folder = _FORBIDDEN.sub("_", name).strip(" .") or "class"
        if folder.lower() in ("background", "foreground", "ignore") and len(classes) > 1:
            folder += "_class"
        while folder in labels:
            folder += f"_{value}"
        labels[folder] = value
        if folder != name:
            notes.append(f"the class '{name}' is called '{folder}' here.")
    ignored = any(special_value(name) == IGNORE for name in used)
    return Declared(labels=labels or None, ignore_value=IGNORE if ignored else None), notes


def note_spurious(entries: Iterable[ImageEntry], problems: Remarks, notes: Remarks) -> None:
    """Say which objects enclose nothing; where an image has no other, that is a problem."""
    for entry in entries:
        for where in entry.spurious:
            if entry.shapes:
                notes.add(
                    "{} objects have fewer than three corners, enclose nothing and are left out.",
                    f"{where} of {entry.name}",
                )
            else:
                problems.add(
                    f"{entry.file} draws nothing on an image but objects of fewer than three "
                    "corners, which enclose nothing: {}; draw them anew, or remove them where the "
                    "image shows none.",
                    f"{where} of {entry.name}",
                )


def listing_of(
    pictures: Pictures,
    masks: Sequence[tuple[Path, MaskSource | Path | None, Role | None]],
    declared: Declared,
    problems: Remarks,
    notes: Sequence[str],
    *,
    undescribed: Sequence[Path] = (),
) -> Listing:
    """Make the cases of pictures with their masks; ``undescribed`` are pictures without a mask.

    A picture that is described twice is a problem, and its first description stands.
    """
    kept: dict[Path, tuple[MaskSource | Path | None, Role | None]] = {}
    for picture, mask, role in masks:
        if picture in kept:
            problems.add(
                f"{pictures.root} has two descriptions of {{}} pictures; give the one that counts "
                "as DATA, or remove the other.",
                pictures.relative(picture),
            )
            continue
        kept[picture] = (mask, role)
    missing = [picture for picture in undescribed if picture not in kept]
    for picture in missing:
        # Where images without a mask are said to hold nothing, these must not be taken for such.
        for file in pictures.masks_of(picture):
            problems.add(
                f"{pictures.root} describes some pictures in annotation files and has mask files "
                "of others, which are not read: {}; describe all in one way, or say with "
                "--layout which is read.",
                pictures.relative(file),
            )
    ids = unique_ids(pictures.root, [*kept, *missing])
    cases = [
        Case(name, (picture,), mask, role=role)
        for name, (picture, (mask, role)) in zip(ids, kept.items(), strict=False)
    ]
    cases += [
        Case(name, (picture,), None)
        for name, picture in zip(ids[len(kept) :], missing, strict=True)
    ]
    for name in pictures.doubtful:
        problems.add(
            f"{pictures.root} holds several pictures for one name in annotation files: {{}}; write "
            "the names with their folders, or remove the pictures that are not meant.",
            name,
        )
    drawn = [file for mask, _ in kept.values() if mask for file in files_of(mask)]
    unread = pictures.unread({*kept, *missing, *drawn})
    if unread:
        names = [pictures.relative(path) for path in unread]
        notes = [*notes, f"{counted(names)} other pictures are described nowhere and not read."]
    split_from = "the annotation files" if any(case.role for case in cases) else ""
    order = sorted(range(len(cases)), key=lambda k: str(cases[k].images[0]))
    return Listing(
        cases=tuple(cases[k] for k in order),
        split_from=split_from,
        missing=tuple(ids[len(kept) :]),
        declared=declared,
        problems=problems.sentences(),
        notes=tuple(notes),
    )


def files_of(mask: MaskSource | Path) -> tuple[Path, ...]:
    """Return the files that a mask is read from."""
    return (mask,) if isinstance(mask, Path) else mask.files
