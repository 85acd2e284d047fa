"""Write COCO's instances: one JSON for all pictures, with polygons or run lengths.

An object without holes is a list of polygons along the borders of pixels; one with holes is
compressed run lengths, since COCO's polygons have none. ``area`` is its pixels and ``bbox`` is
(x, y, width, height); ``score`` is the largest score in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rareseg.data.annotation_export.annotated import AnnotatedObject, AnnotatedPicture
from rareseg.data.masks.mask_run_lengths import compress_counts, encode_counts
from rareseg_runner.atomic_files import atomic_write

NAME = "coco.json"


class CocoFile:
    """``folder/coco.json`` as it grows; it is written by :meth:`close`."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._path = folder / NAME
        self._categories = {name: number for number, name in enumerate(names, start=1)}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, picture: AnnotatedPicture) -> None:
        """Add a picture with its objects."""
        number = len(self._images) + 1
        self._images.append(
            {
                "id": number,
                "file_name": picture.name,
                "width": picture.width,
                "height": picture.height,
            }
        )
        for one in picture.objects:
            y, x = one.corner
            rows, columns = one.mask.shape
            annotation: dict[str, Any] = {
                "id": len(self._annotations) + 1,
                "image_id": number,
                "category_id": self._categories[one.name],
                "segmentation": _segmentation(one, picture),
                "area": one.area,
                "bbox": [x, y, columns, rows],
                "iscrowd": 0,
            }
            if one.score is not None:
                annotation["score"] = round(one.score, 6)
            self._annotations.append(annotation)

    def close(self) -> Path:
        """Write the file, atomically, and return its path."""
        content = {
            "images": self._images,
            "annotations": self._annotations,
            "categories": [
                {"id": number, "name": name} for name, number in self._categories.items()
            ],
        }
        with atomic_write(self._path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return self._path


def _segmentation(one: AnnotatedObject, picture: AnnotatedPicture) -> Any:
    polygons = one.polygons
    if any(polygon.holes for polygon in polygons):
        counts = compress_counts(encode_counts(one.on(picture.height, picture.width)))
        return {"size": [picture.height, picture.width], "counts": counts}
    return [polygon.shell.ravel().tolist() for polygon in polygons]
