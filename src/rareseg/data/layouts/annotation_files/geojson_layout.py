"""The layout of GeoJSON: a file of features for each picture, as QuPath, QGIS and `predict` write.

Read are polygons and multipolygons, with their holes; points and lines hold no area and are
refused. Coordinates are pixels, or those of the picture's map: where the file names a coordinate
system (``crs``), or where they lie beside the picture and that is a GeoTIFF.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.layouts.annotation_files.entries import RULE, declare, listing_of, number_labels
from rareseg.data.layouts.annotation_files.json_text import read_json
from rareseg.data.layouts.annotation_files.pictures import Pictures, Remarks, role_in
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing
from rareseg.data.masks.drawn_objects import AnnotationSource, Drawing
from rareseg.data.masks.drawn_shapes import Shape, numbers, outline
from rareseg.data.masks.polygons import Polygon, one_ring
from rareseg.data.records import Role
from rareseg.errors import DataError
from rareseg_runner.formats import read_image
from rareseg_runner.formats.geotiff import MapFrame, map_frame

ENDING = ".geojson"
UNNAMED = "foreground"
"""The class of features that name none."""
_NAMES = ("classification", "class", "class_name", "label", "category", "type")
"""Properties of a feature that name its class, the first that is there."""
_SMALLEST = 4
"""Positions of a closed ring: three corners, the first of them again at the end."""

_Rings = list[NDArray[np.float64]]


@dataclass(frozen=True)
class FeaturesFile(AnnotationSource):
    """A file of features, read where the case is; ``values`` are labels with mask values."""

    file: Path
    entry: str
    picture: Path
    values: tuple[tuple[str, int], ...]

    def objects(self, size: tuple[int, int]) -> tuple[tuple[int, int] | None, list[Drawing]]:
        """Return no size, which GeoJSON does not give, and what the file draws."""
        content = read_json(self.file)
        known = dict(self.values)
        drawn = [
            (known[label], polygon)
            for label, polygons in _drawn(content)
            for polygon in polygons or ()
        ]
        frame = _frame(content, [rings for _, rings in drawn], size, self.picture)
        return None, [(value, _shape(rings, frame)) for value, rings in drawn]

    def __repr__(self) -> str:
        return f"FeaturesFile({self.file.name!r}, {self.values})"


def _recognise(tree: FileTree) -> str | None:
    if tree.file is not None:
        return None
    for folder, files in tree.walk():
        for name in files:
            if name.lower().endswith(ENDING):
                return f"{f'{folder}/{name}' if folder else name} is a file of GeoJSON"
    return None


def _read(tree: FileTree) -> Listing:
    """List the pictures with the GeoJSON files of their names; one without a file has no mask.

    A file without features says that its picture holds nothing.

    Raises:
        DataError: no GeoJSON file is called like a picture, or one is damaged.
    """
    pictures, problems = Pictures(tree), Remarks()
    found: list[tuple[Path, Path, list[str] | None, Role | None]] = []
    labels: dict[str, None] = {}
    for folder, files in tree.walk():
        for name in files:
            if not name.lower().endswith(ENDING):
                continue
            path = tree.path(folder, name)
            picture = pictures.find(f"{folder}/{name[: -len(ENDING)]}", folder)
            if picture is None:
                problems.add(
                    f"{tree.root} holds GeoJSON files that are called like no picture: {{}}; call "
                    "each like its picture.",
                    path.relative_to(tree.root).as_posix(),
                )
                continue
            own = _labels(path, problems)
            labels |= dict.fromkeys(own or ())
            role = role_in(*reversed(pictures.relative(picture).split("/")[:-1]))
            found.append((path, picture, own, role))
    if not found:
        raise DataError(
            f"{tree.root} holds no picture that a GeoJSON file is called after; call each file "
            "like its picture."
        )
    values = number_labels(sorted(labels))
    declared, name_notes = declare(values, labels)
    given = tuple(values.items())
    masks = [
        (picture, FeaturesFile(path, picture.name, picture, given) if own != [] else None, role)
        for path, picture, own, role in found
    ]
    n_empty = sum(mask is None for _, mask, _ in masks)
    notes = [
        f"{n_empty} GeoJSON files hold no features: their pictures count as negatives; {RULE}.",
        *name_notes,
    ]
    return listing_of(pictures, masks, declared, problems, notes, undescribed=pictures.others())


def _labels(path: Path, problems: Remarks) -> list[str] | None:
    """Return the labels that a file draws; None where it cannot be read, which is a problem."""
    found = []
    try:
        for label, polygons in _drawn(read_json(path)):
            found.append(label)
            if polygons is None:
                problems.add(
                    f"{path.parent} holds points or lines, which have no area: {{}}; draw what "
                    "they mark as polygons, or remove them.",
                    f"'{label}' in {path.name}",
                )
    except DataError as error:
        problems.add(
            f"{path.parent} holds features that cannot be read: {{}}; correct them.",
            f"{path.name}: {str(error).rstrip('.')}",
        )
        return None
    return found


def _drawn(content: Any) -> list[tuple[str, list[_Rings] | None]]:
    """Return the label and the polygons of every feature; None for what has no area."""
    entries = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise DataError("the features are no list")
    found: list[tuple[str, list[_Rings] | None]] = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("type") != "Feature":
            raise DataError("an entry is no feature")
        drawn = entry.get("geometry")
        if drawn is None:
            continue  # GeoJSON's way to say that a feature lies nowhere
        if not isinstance(drawn, dict):
            raise DataError("a feature's geometry is no object")
        label, places = _label(entry.get("properties")), drawn.get("coordinates")
        if drawn.get("type") == "Polygon":
            found.append((label, [_rings(places)]))
        elif drawn.get("type") == "MultiPolygon" and isinstance(places, list):
            found.append((label, [_rings(part) for part in places]))
        else:
            found.append((label, None))
    return found


def _label(properties: Any) -> str:
    said = properties if isinstance(properties, dict) else {}
    for name in _NAMES:
        word = said.get(name)
        word = word.get("name") if isinstance(word, dict) else word
        if isinstance(word, str) and word.strip():
            return word.strip()
    return UNNAMED


def _rings(places: Any) -> _Rings:
    """Return the rings of a polygon, the shell first; DataError for anything else."""
    if not isinstance(places, list) or not places:
        raise DataError("a polygon has no rings")
    rings = []
    for ring in places:
        if not isinstance(ring, Sequence) or not all(
            isinstance(place, Sequence) and len(place) >= 2 for place in ring
        ):
            raise DataError("a ring is no list of positions")
        corners = numbers([list(place[:2]) for place in ring], "positions of a ring")
        if len(ring) < _SMALLEST:
            raise DataError(f"a ring has {len(ring)} positions, of at least {_SMALLEST}")
        rings.append(corners.reshape(-1, 2)[:-1])
    return rings


def _frame(
    content: Any, drawn: Sequence[_Rings], size: tuple[int, int], picture: Path
) -> MapFrame | None:
    """Return the map that coordinates are on, None where they are pixels.

    Raises DataError where they are of another map than the picture.
    """
    system = json.dumps(content.get("crs") or "") if isinstance(content, Mapping) else '""'
    corners = [ring for rings in drawn for ring in rings]
    inside = all((ring >= -1).all() and (ring <= np.array(size) + 1).all() for ring in corners)
    if not corners or (inside and system == '""'):
        return None
    frame = map_frame(read_image((picture,)).geometry)
    if frame is None and not inside:
        raise DataError(
            "coordinates lie beside the picture, which tells no place on a map; give them in "
            "pixels, or the picture as GeoTIFF"
        )
    code = _code(system)
    if frame is not None and None not in (code, frame.epsg) and code != frame.epsg:
        raise DataError(
            f"coordinates are of EPSG:{code} and the picture of EPSG:{frame.epsg}; export them in "
            "the picture's system"
        )
    return frame


def _code(system: str) -> int | None:
    """Return the EPSG code that a coordinate system is named by, None where it is not."""
    if "CRS84" in system:
        return 4326
    found = re.search(r"EPSG:[\d.]*:?(\d+)", system)
    return int(found[1]) if found else None


def _shape(rings: _Rings, frame: MapFrame | None) -> Shape:
    shell, *holes = (ring if frame is None else frame.to_pixels(ring) for ring in rings)
    found = outline([one_ring([Polygon(shell, tuple(holes))])])
    assert found is not None, "a ring has three corners or more"
    return found


register(Layout("geojson", "pictures with GeoJSON files", _recognise, _read, lists_files=True))
