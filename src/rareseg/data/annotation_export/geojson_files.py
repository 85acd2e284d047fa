"""Write GeoJSON: ``geojson/ID.geojson``, a feature an object, with its holes.

Coordinates are pixels (x to the right, y downwards, the first pixel's corner at 0, 0), as QuPath
and napari read them; where the picture's geometry leads to a map, they are the map's. Shells run
counter-clockwise in the numbers, holes clockwise (RFC 7946, section 3.1.6).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rareseg.data.annotation_export.annotated import AnnotatedPicture, PixelToMap, no_map
from rareseg.data.atomic_files import atomic_write
from rareseg.data.masks.polygons import Polygon, Ring, ring_area


class GeojsonFiles:
    """``folder/geojson/ID.geojson``; ``to_map`` leads from pixels to a map."""

    def __init__(self, folder: Path, names: Sequence[str], to_map: PixelToMap = no_map) -> None:
        self._folder = folder / "geojson"
        self._to_map = to_map

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the features of a picture, atomically; none give an empty collection."""
        place = self._to_map(picture.geometry)
        features = []
        for one in picture.objects:
            parts = [_rings(polygon, place) for polygon in one.polygons]
            single = len(parts) == 1
            properties: dict[str, Any] = {
                "objectType": "annotation",
                "classification": {"name": one.name},
                "name": f"{one.name} {one.number}",
                "area_pixels": one.area,
            }
            if one.score is not None:
                properties["score"] = round(one.score, 6)
            features.append(
                {
                    "type": "Feature",
                    "properties": properties,
                    "geometry": {
                        "type": "Polygon" if single else "MultiPolygon",
                        "coordinates": parts[0] if single else parts,
                    },
                }
            )
        content = {"type": "FeatureCollection", "features": features}
        with atomic_write(self._folder / f"{picture.id}.geojson") as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def close(self) -> Path:
        """Return the folder; nothing is left to write."""
        return self._folder


def _rings(polygon: Polygon, place: Callable[[Ring], Ring] | None) -> list[list[list[float]]]:
    """Return shell and holes as GeoJSON wants them: closed, shells counter-clockwise."""
    rings = []
    for number, ring in enumerate(polygon.rings):
        placed = ring if place is None else place(ring)
        if (ring_area(placed) > 0) != (number == 0):
            placed = placed[::-1]
        corners = placed.tolist()
        rings.append([*corners, corners[0]])
    return rings
