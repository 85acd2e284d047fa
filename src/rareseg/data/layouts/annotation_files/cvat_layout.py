"""The layout of CVAT's own XML for images (version 1.1): polygons, masks, ellipses and rectangles.

Rectangles are drawn as areas, as CVAT's own export of masks draws them. Objects lie in the order of
their z_order, then of the file. Video tracks, points and lines are refused.
"""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rareseg.data.layouts.annotation_files.entries import (
    RULE,
    ImageEntry,
    declare,
    listing_of,
    note_spurious,
    number_labels,
)
from rareseg.data.layouts.annotation_files.json_text import LOOKED_AT, MOST_BYTES
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_shapes import (
    BoxRuns,
    Ellipse,
    Shape,
    numbers,
    outline,
    rectangle,
    whole_numbers,
)
from rareseg.errors import DataError

_AREAS = ("polygon", "mask", "ellipse", "box")
_LINES = ("polyline", "points", "cuboid", "skeleton")


def _files(tree: FileTree) -> list[Path]:
    """Return the XML files of CVAT in the outer two levels, or the one that was named."""
    if tree.file is not None:
        candidates = [tree.file] if tree.file.suffix.lower() == ".xml" else []
    else:
        candidates = []
        for folder, files in tree.walk():
            if folder.count("/") < 2:
                names = [name for name in files if name.lower().endswith(".xml")]
                # Pascal VOC has a file of boxes for each picture; CVAT one for all.
                candidates += [tree.path(folder, name) for name in names[:3]]
    return [path for path in candidates if _is_cvat(path)]


def _is_cvat(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(LOOKED_AT)
    return b"<annotations" in head and (b"<version>" in head or b"<image " in head)


def _recognise(tree: FileTree) -> str | None:
    files = _files(tree)
    if not files:
        return None
    return f"{files[0].relative_to(tree.root).as_posix()} is CVAT's own file"


@dataclass
class _CvatContent:
    """What is gathered while a file is parsed."""

    path: Path
    pictures: Pictures
    problems: Remarks
    names: list[str] = field(default_factory=list)
    entries: list[ImageEntry] = field(default_factory=list)
    order: list[tuple[int, int]] = field(default_factory=list)
    current: ImageEntry | None = None
    within: list[str] = field(default_factory=list)
    text: str = ""
    n_boxes: int = 0

    def start(self, tag: str, given: dict[str, str]) -> None:
        """Take the begin of an element."""
        self.within.append(tag)
        self.text = ""
        if tag == "track":
            raise DataError(
                f"{self.path} holds tracks of a video; export the task as 'CVAT for images 1.1'."
            )
        if tag == "image":
            self._image(given)
        elif tag in (*_AREAS, *_LINES) and "image" in self.within:
            self._object(tag, given)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag == "name" and self.within[-2:-1] == ["label"]:
            self.names.append(self.text.strip())
        if tag == "image" and self.current is not None:
            self._close(self.current)
        self.within.pop()
        self.text = ""

    def data(self, text: str) -> None:
        """Take text."""
        self.text += text

    def _image(self, given: Mapping[str, str]) -> None:
        name = given.get("name", "")
        picture = self.pictures.find(name, self.path.stem)
        self.current, self.order = None, []
        if picture is None:
            self.problems.add(
                f"{self.path} describes images that are not in {self.pictures.root}: {{}}; add "
                "them, or remove their entries.",
                name,
            )
            return
        width, height = given.get("width", ""), given.get("height", "")
        size = (int(width), int(height)) if width.isdigit() and height.isdigit() else None
        role = role_in(given.get("subset", ""), *reversed(Path(name).parts[:-1]))
        self.current = ImageEntry(name, picture, self.path, size, role)

    def _object(self, tag: str, given: Mapping[str, str]) -> None:
        entry = self.current
        if entry is None:
            return
        label = given.get("label", "")
        where = f"{tag} '{label}'"
        if tag in _LINES:
            self.problems.add(
                f"{self.path} holds points, lines or cuboids, which have no area: {{}}; draw what "
                "they mark as polygons or masks, or remove them.",
                f"{where} on {entry.name}",
            )
            return
        try:
            shape = _shape(tag, given)
        except (DataError, KeyError, ValueError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
            self.problems.add(
                f"{self.path} holds objects that cannot be read: {{}}; export it again.",
                f"{where} on {entry.name}: {said}",
            )
            return
        self.n_boxes += tag == "box"
        z_order = given.get("z_order", "0")
        if shape is not None:
            height = int(z_order) if z_order.lstrip("-").isdigit() else 0
            self.order.append((height, len(self.order)))
        entry.add(label, shape, where)

    def _close(self, entry: ImageEntry) -> None:
        order = [number for _, number in sorted(self.order)]
        entry.labels = [entry.labels[number] for number in order]
        entry.shapes = [entry.shapes[number] for number in order]
        self.entries.append(entry)
        self.current = None


def _shape(tag: str, given: Mapping[str, str]) -> Shape | None:
    """Return what an element draws; None where it encloses nothing."""
    turn = float(given.get("rotation", 0))
    if tag == "polygon":
        return outline([[part.split(",") for part in given["points"].split(";") if part]])
    if tag == "box":
        left, top, right, below = numbers(
            [given[key] for key in ("xtl", "ytl", "xbr", "ybr")], "corners of a box"
        ).tolist()
        return rectangle(left, top, right, below, turn)
    if tag == "ellipse":
        x, y, radius_x, radius_y = numbers(
            [given[key] for key in ("cx", "cy", "rx", "ry")], "an ellipse's centre and radii"
        ).tolist()
        return Ellipse(x, y, radius_x, radius_y, turn)
    counts = whole_numbers(
        [part for part in given["rle"].split(",") if part.strip()], "run lengths"
    )
    return BoxRuns(counts, *(int(given[key]) for key in ("left", "top", "width", "height")))


def _parse(path: Path, pictures: Pictures, problems: Remarks) -> _CvatContent:
    """Read a file piece by piece; entities are refused, since they can grow without bound."""
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path} is larger than {MOST_BYTES >> 20} MiB; export it in parts.")
    content = _CvatContent(path, pictures, problems)
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = content.start
    parser.EndElementHandler = content.end
    parser.CharacterDataHandler = content.data

    def refuse(*_: object) -> None:
        raise DataError(f"{path} declares entities, which are not read; export it again.")

    parser.EntityDeclHandler = refuse
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except xml.parsers.expat.ExpatError as error:
        raise DataError(
            f"{path} is no valid XML ({error}); it is damaged or cut off: export it again."
        ) from error
    return content


def _read(tree: FileTree) -> Listing:
    """List the images of CVAT's files; one without objects holds nothing.

    Raises:
        DataError: a file is damaged, is of a video, or names no picture that is there.
    """
    files = _files(tree)
    if not files:
        raise DataError(f"{tree.file or tree.root} holds no XML file of CVAT; export one.")
    pictures, problems, notes = Pictures(tree), Remarks(), Remarks()
    contents = [_parse(path, pictures, problems) for path in files]
    entries = [entry for content in contents for entry in content.entries]
    if not entries:
        raise DataError(
            f"{files[0]} describes no image that lies in {pictures.root}; put the pictures there "
            "(CVAT saves them with a task where that is ticked)."
        )
    drawn = {label for entry in entries for label in entry.labels}
    known = list(dict.fromkeys([n for content in contents for n in content.names]))
    values = number_labels([*known, *sorted(drawn - set(known))])
    declared, name_notes = declare(values, drawn)
    note_spurious(entries, problems, notes)
    n_empty = sum(not entry.shapes for entry in entries)
    said = [
        f"{n_empty} of {len(entries)} images have no objects and count as negatives; {RULE}.",
        *notes.sentences(),
        *name_notes,
    ]
    n_boxes = sum(content.n_boxes for content in contents)
    if n_boxes:
        said.append(f"{n_boxes} rectangles are drawn as areas, as CVAT's export of masks does.")
    masks = [(entry.picture, entry.mask(values), entry.role) for entry in entries]
    return listing_of(pictures, masks, declared, problems, said, undescribed=pictures.others())


register(Layout("cvat", "CVAT's own XML for images", _recognise, _read, lists_files=True))
