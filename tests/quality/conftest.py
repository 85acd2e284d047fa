"""Small data sets, without faults and with planted ones, for all tests of the audit."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.dataset import open_dataset


@dataclass(frozen=True, eq=False)
class Drawn:
    """One case as arrays: ``image`` (y, x) uint8 and ``mask`` (y, x), a group and a split."""

    id: str
    image: np.ndarray
    mask: np.ndarray
    group: str = ""
    split: str = ""

    def change(self, **values: object) -> Drawn:
        return replace(self, **values)


@pytest.fixture(scope="session")
def specks_cases(tmp_path_factory) -> tuple[Drawn, ...]:
    """40 plates, half of them empty, without faults."""
    easy = SpecksSettings(images=40, size=128, contrast=4.0, distractors=3, seed=5)
    folder = write_specks(tmp_path_factory.mktemp("plates") / "data", easy)
    return tuple(
        Drawn(
            case.id,
            np.asarray(PIL.Image.open(case.images[0])),
            np.asarray(PIL.Image.open(case.mask)),
            case.group or "",
        )
        for case in open_dataset(folder).cases
    )


@pytest.fixture(scope="session")
def write_cases() -> Callable[..., Path]:
    """Write cases as a manifest of PNG files below a folder."""

    def write(
        folder: Path, cases: Sequence[Drawn], annotations: Mapping[str, Mapping[str, str]] = {}
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted({name for own in annotations.values() for name in own})
        with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            extra = [f"mask_{name}" for name in names]
            writer.writerow(("id", "image", "mask", "group", "split", *extra))
            for number, case in enumerate(cases):
                PIL.Image.fromarray(case.image).save(folder / f"{number}.png")
                PIL.Image.fromarray(case.mask).save(folder / f"{number}_mask.png")
                own = annotations.get(case.id, {})
                files = (f"{number}.png", f"{number}_mask.png")
                writer.writerow(
                    (case.id, *files, case.group, case.split, *(own.get(n, "") for n in names))
                )
        return folder

    return write
