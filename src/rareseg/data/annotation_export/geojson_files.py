"""Write GeoJSON: ``geojson/ID.geojson``, a feature an object, with its holes.

Of a GeoTIFF coordinates are those of its map, and ``crs`` names their system by its EPSG code where
the file tells one, as GDAL writes and reads it (the form of 2008, which RFC 7946 keeps for such
agreements in its section 4). Of any other picture they are pixels (x to the right, y downwards, the
first pixel's corner at 0, 0), as QuPath and napari read them. Shells run counter-clockwise in the
numbers, holes clockwise (RFC 7946, section 3.1.6).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rareseg.data.annotation_export.annotated import AnnotatedPicture
from rareseg.data.masks.polygons import Polygon, ring_area
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.formats.geotiff import MapFrame, map_frame

_LONGITUDE_LATITUDE = "urn:ogc:def:crs:OGC:1.3:CRS84"
"""WGS 84 with the longitude first, as all coordinates stand in GeoJSON."""


class GeojsonFiles:
    """``folder/geojson/ID.geojson``."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder / "geojson"

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the features of a picture, atomically; none give an empty collection."""
        frame = map_frame(picture.geometry)
        features = []
        for one in picture.objects:
            parts = [_rings(polygon, frame) for polygon in one.polygons]
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
        content: dict[str, Any] = {"type": "FeatureCollection"}
        if frame is not None and frame.epsg is not None:
            content["crs"] = {"type": "name", "properties": {"name": _system(frame.epsg)}}
        content["features"] = features
        with atomic_write(self._folder / f"{picture.id}.geojson") as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def close(self) -> Path:
        """Return the folder; nothing is left to write."""
        return self._folder


def _system(epsg: int) -> str:
    return _LONGITUDE_LATITUDE if epsg == 4326 else f"urn:ogc:def:crs:EPSG::{epsg}"


def _rings(polygon: Polygon, frame: MapFrame | None) -> list[list[list[float]]]:
    """Return shell and holes as GeoJSON wants them: closed, shells counter-clockwise."""
    rings = []
    for number, ring in enumerate(polygon.rings):
        placed = ring if frame is None else frame.to_map(ring)
        if (ring_area(placed) > 0) != (number == 0):
            placed = placed[::-1]
        corners = placed.tolist()
        rings.append([*corners, corners[0]])
    return rings
