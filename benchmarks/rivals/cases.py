"""Read a rival's cases into memory, and write its scores of whole images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.dataset import open_dataset
from rareseg.data.records import Case
from rareseg.errors import DataError
from rareseg.run.scores.case_scoring import read_labels
from rareseg_runner.formats import read_image
from rareseg_runner.geometry import CANONICAL, from_canonical
from rareseg_runner.image_records import IGNORE, Classes, Image


@dataclass(frozen=True, eq=False)
class Loaded:
    """A case in memory: ``array`` (C, z, y, x) as in its files, ``labels`` (z, y, x) uint8."""

    case: Case
    image: Image
    labels: NDArray[np.uint8]

    @property
    def array(self) -> NDArray[Any]:
        """The image (C, z, y, x)."""
        return self.image.array


def load(manifest: Path, classes: Classes) -> list[Loaded]:
    """Read the cases of a manifest; what is to be ignored is background to a rival."""
    loaded = []
    for case in open_dataset(manifest).cases:
        image = read_image(case.images)
        labels = read_labels(case, classes, image)
        loaded.append(Loaded(case, image, np.where(labels == IGNORE, 0, labels).astype(np.uint8)))
    return loaded


def write_scores(
    folder: Path,
    cases: Iterable[Loaded],
    score: Callable[[NDArray[Any]], NDArray[np.float32]],
) -> None:
    """Write ``folder/ID.npz`` for every case: what ``score`` makes of its array.

    It gets (C, z, y, x) and returns the probabilities of all classes, (classes, z, y, x).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for loaded in cases:
        np.savez_compressed(
            folder / f"{loaded.case.id}.npz", probabilities=as_in_file(score(loaded.array), loaded)
        )


def as_in_file(probabilities: NDArray[np.float32], loaded: Loaded) -> NDArray[np.generic]:
    """Return probabilities in the axis order of the image's file, as their readers expect it."""
    geometry = loaded.image.geometry
    if geometry.exif != 1:
        raise DataError(
            f"{loaded.case.images[0]} is to be turned by its EXIF tag, which the rivals do not do; "
            "write it upright."
        )
    return from_canonical(probabilities, geometry.orientation or CANONICAL)
