"""Write YOLO's segmentation labels: ``labels/ID.txt`` and ``data.yaml``.

A line is the class, counted from 0, and the corners x y of one closed line, over the picture's
width and height. YOLO's lines have no holes and no parts: those of an object are joined to one line
by bridges without width, so that pixels by their centres are exactly the object; a program that
draws the line itself (OpenCV's ``fillPoly``) also sets the pixels under it. Scores have no place
in the file. A picture without objects has an empty file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from rareseg.data.annotation_export.annotated import AnnotatedPicture
from rareseg.data.masks.polygons import one_ring
from rareseg_runner.atomic_files import atomic_write


class YoloFiles:
    """``folder/yolo/labels`` and ``folder/yolo/data.yaml``."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder / "yolo"
        self._names = list(names)

    def add(self, picture: AnnotatedPicture) -> None:
        """Write the labels of a picture, atomically."""
        size = np.array([picture.width, picture.height], np.float64)
        lines = []
        for one in picture.objects:
            corners = (one_ring(one.polygons) / size).ravel()
            numbers = " ".join(f"{value:.9g}" for value in corners)
            lines.append(f"{self._names.index(one.name)} {numbers}\n")
        with atomic_write(self._folder / "labels" / f"{picture.id}.txt") as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")

    def close(self) -> Path:
        """Write ``data.yaml``; the pictures belong into ``images/`` beside ``labels/``."""
        path = self._folder / "data.yaml"
        about = {
            "path": ".",
            "train": "images",
            "val": "images",
            "nc": len(self._names),
            "names": dict(enumerate(self._names)),
        }
        with atomic_write(path) as temporary:
            temporary.write_text(
                yaml.safe_dump(about, sort_keys=False, allow_unicode=True), encoding="utf-8"
            )
        return path
