"""The layouts of Pascal VOC and of masks in the colours of a labelmap.txt, as CVAT exports them.

VOC holds JPEGImages/, SegmentationClass/ with palette pictures and ImageSets/Segmentation/ with a
list of names for each split. 255 counts nowhere. A labelmap.txt gives the colour of each class
("name:red,green,blue::" a line); one without colours (datumaro writes it) stands for VOC's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rareseg.data.layouts.annotation_files.entries import listing_of, number_labels
from rareseg.data.layouts.annotation_files.json_text import read_text
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.colour_file import Colour, ColourFile
from rareseg.data.records import MaskSource, Role
from rareseg.errors import DataError
from rareseg_runner.formats import format_of, stem_of
from rareseg_runner.image_records import IGNORE

_IMAGES = ("JPEGImages", "images", "image", "imgs", "img")
_MASKS = ("SegmentationClass", "masks", "mask", "SegmentationClassPNG", "labels", "annotations")
_VOID = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "__ignore__")
_BACKGROUND = ("background", "_background_")
_LINE = re.compile(r"(?P<name>[^:]+):(?P<red>\d+),\s*(?P<green>\d+),\s*(?P<blue>\d+)(:.*)?")
_UNCOLOURED = re.compile(r"(?P<name>[^:]+):(:.*)?")


def _folder(tree: FileTree, within: str, names: tuple[str, ...]) -> str | None:
    """Return the folder of one of several names in ``within``, capitals aside."""
    there = {name.lower(): name for name in tree.folders(within)}
    found = next((there[name.lower()] for name in names if name.lower() in there), None)
    return None if found is None else f"{within}/{found}".lstrip("/")


def _bases(tree: FileTree) -> list[str]:
    """Return the folders that hold masks of VOC, or a labelmap.txt with masks; root first."""
    found = []
    for folder, _ in tree.walk():
        if folder.count("/") > 1:
            continue
        names = _MASKS[:1] if "labelmap.txt" not in tree.files(folder) else _MASKS
        if _folder(tree, folder, names) is not None:
            found.append(folder)
    return found


def _recognise_labelmap(tree: FileTree) -> str | None:
    bases = [base for base in _bases(tree) if "labelmap.txt" in tree.files(base)]
    if tree.file is not None or not bases:
        return None
    where = f"{bases[0]}/labelmap.txt".lstrip("/")
    return f"{where} gives the colours of masks"


def _recognise_voc(tree: FileTree) -> str | None:
    if tree.file is not None or not _bases(tree) or _recognise_labelmap(tree):
        return None
    return "it holds SegmentationClass/"


def _read(tree: FileTree) -> Listing:
    """List the pictures of the lists of splits, or where there are none, those that have a mask.

    A picture of a list without a mask is missing one.

    Raises:
        DataError: no masks are there, or labelmap.txt is damaged.
    """
    pictures, problems = Pictures(tree), Remarks()
    masks: list[tuple[Path, MaskSource | Path | None, Role | None]] = []
    undescribed: list[Path] = []
    declared = Declared(ignore_value=IGNORE)
    for base in _bases(tree):
        folder = _folder(tree, base, _MASKS)
        assert folder is not None, "it is how a base is found"
        drawn = _by_name(tree, folder)
        colours: tuple[tuple[Colour, int], ...] = ()
        if "labelmap.txt" in tree.files(base):
            colours, declared = _labelmap(tree.path(base, "labelmap.txt"))
        roles = _splits(tree, base)
        images = _folder(tree, base, _IMAGES) or base
        there = _by_name(tree, images)
        for stem in sorted({*roles, *drawn}):
            picture, mask = there.get(stem), drawn.get(stem)
            if picture is None:
                problems.add(
                    f"{tree.path(images)} lacks pictures that masks or lists of splits name: {{}}; "
                    "add them (CVAT saves images with a task where that is ticked), or remove them "
                    "from there.",
                    stem,
                )
                continue
            pictures.take(picture)
            role = roles.get(stem) or role_in(*base.split("/"))
            if mask is None:
                undescribed.append(picture)
            elif colours:
                masks.append((picture, ColourFile(mask, colours, "labelmap.txt"), role))
            else:
                masks.append((picture, mask, role))
        if not roles:
            undescribed += [path for stem, path in there.items() if stem not in drawn]
    if not masks and not undescribed:
        raise DataError(
            f"{tree.root} holds no pictures with masks in SegmentationClass/; put both there."
            f"{''.join(f' ({said})' for said in problems.sentences()[:1])}"
        )
    notes = [
        "masks are read by the colours of labelmap.txt."
        if declared.labels
        else "255 in masks counts nowhere, as Pascal VOC has it."
    ]
    return listing_of(pictures, masks, declared, problems, notes, undescribed=undescribed)


def _by_name(tree: FileTree, folder: str) -> dict[str, Path]:
    """Return the pictures below a folder by their names without endings, with inner folders."""
    found = {}
    for inner, files in tree.walk():
        if inner == folder or inner.startswith(f"{folder}/" if folder else ""):
            within = inner[len(folder) :].lstrip("/")
            for name in files:
                path = tree.path(inner, name)
                if format_of(path) is not None:
                    found[f"{within}/{stem_of(path)}".lstrip("/")] = path
    return found


def _splits(tree: FileTree, base: str) -> dict[str, Role | None]:
    """Return the split of each name in the lists of ImageSets/Segmentation; None for others'.

    Lists of several splits at once (trainval, default) say no split.
    """
    folder = f"{base}/ImageSets/Segmentation".lstrip("/")
    found: dict[str, Role | None] = {}
    for name in tree.files(folder):
        if not name.endswith(".txt"):
            continue
        stem = Path(name).stem
        role = None if stem.lower() == "trainval" else role_in(stem)
        for line in read_text(tree.path(folder, name)).splitlines():
            if line.strip():
                path = Path(line.strip().split()[0].replace("\\", "/"))
                key = (path.parent / stem_of(path)).as_posix()
                found[key] = found.get(key) or role
    return found


def _labelmap(path: Path) -> tuple[tuple[tuple[Colour, int], ...], Declared]:
    """Return the mask value of each colour and the names of the classes, in the file's order."""
    found: dict[str, Colour] = {}
    uncoloured: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if plain := _UNCOLOURED.fullmatch(text):
            uncoloured.append(plain["name"])
            continue
        match = _LINE.fullmatch(text)
        if match is None or max(map(int, match.group("red", "green", "blue"))) > 255:
            raise DataError(
                f"{path}, line {number}, is '{text[:40]}'; a line is name:red,green,blue with "
                "numbers up to 255."
            )
        red, green, blue = (int(match[part]) for part in ("red", "green", "blue"))
        found[match["name"]] = (red, green, blue)
    if found and uncoloured:
        raise DataError(
            f"{path} gives no colour for {uncoloured[0]}, and does for {next(iter(found))}; give "
            "each class one, or none."
        )
    found |= {name: _voc_colour(number) for number, name in enumerate(uncoloured)}
    if len(set(found.values())) < len(found):
        raise DataError(f"{path} gives one colour to several classes; make them differ.")
    names = [name for name in found if name.lower() not in (*_BACKGROUND, *_VOID)]
    values: Mapping[str, int] = number_labels(names)
    colours = tuple((colour, _value(name, values)) for name, colour in found.items())
    ignore = any(name.lower() in _VOID for name in found)
    return colours, Declared(labels=dict(values) or None, ignore_value=IGNORE if ignore else None)


def _voc_colour(number: int) -> Colour:
    """Return the colour of a class by VOC's rule: its bits, dealt out from the highest one down.

    Source: ``VOClabelcolormap.m`` of the VOC development kit.
    """
    bits = [[number >> (3 * k + channel) & 1 for k in range(8)] for channel in range(3)]
    red, green, blue = (sum(bit << (7 - k) for k, bit in enumerate(own)) for own in bits)
    return red, green, blue


def _value(name: str, values: Mapping[str, int]) -> int:
    return values.get(name, IGNORE if name.lower() in _VOID else 0)


register(
    Layout(
        "labelmap",
        "masks in the colours of a labelmap.txt (CVAT)",
        _recognise_labelmap,
        _read,
        lists_files=True,
    )
)
register(
    Layout(
        "voc",
        "Pascal VOC: JPEGImages/, SegmentationClass/, lists in ImageSets/Segmentation/",
        _recognise_voc,
        _read,
        instead_of=("folders",),
        lists_files=True,
    )
)
