"""Write LabelMe's files: ``labelme/ID.json``, which names its picture where that lies.

A shape is one closed line. LabelMe's polygons have no holes and no parts: those of an object are
joined to one line by bridges without width, so that pixels by their centres are exactly the object;
LabelMe's own export draws the line as well, and sets the pixels under it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rareseg.data.annotation_export.annotated import AnnotatedPicture
from rareseg.data.masks.polygons import one_ring
from rareseg_runner.atomic_files import atomic_write

VERSION = "5.4.1"
"""Of LabelMe's files whose fields these are."""


class LabelmeFiles:
    """``folder/labelme/ID.json``."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder / "labelme"

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the shapes of a picture, atomically."""
        path = self._folder / f"{picture.id}.json"
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [
                {
                    "label": one.name,
                    "points": one_ring(one.polygons).tolist(),
                    "group_id": None,
                    "description": "" if one.score is None else f"score {one.score:.3f}",
                    "shape_type": "polygon",
                    "flags": {},
                }
                for one in picture.objects
            ],
            "imagePath": _from(path.parent, picture.file),
            "imageData": None,
            "imageHeight": picture.height,
            "imageWidth": picture.width,
        }
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def close(self) -> Path:
        """Return the folder; nothing is left to write."""
        return self._folder


def _from(folder: Path, file: Path) -> str:
    """Return the path of a file from a folder; the whole path where they lie on two drives."""
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return file.resolve().as_posix()
