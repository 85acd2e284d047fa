"""Build the store of a data set, and again only when its files or settings changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.formats import read_image, read_mask
from rareseg.data.preprocess import Preprocessing, class_indices
from rareseg.data.records import Case, Classes, Dataset, Image
from rareseg.data.store import Store, open_store
from rareseg.data.writing import Labels, Source, is_current, store_key, write_store
from rareseg.errors import ProblemsError, StoreError
from rareseg.progress import Track, silent


def build_store(
    dataset: Dataset,
    folder: Path | str,
    *,
    preprocessing: Preprocessing | None = None,
    fingerprint: Fingerprint | None = None,
    jobs: int = -1,
    track: Track = silent,
) -> Store:
    """Write every case of a data set into a store at ``folder``, or open the one that is there.

    A store that was made from the same files (by path, size and time), with the same preprocessing
    and the same declared classes, is opened as it is; a store of anything else is replaced, and any
    other content is refused. ``preprocessing`` ``None`` normalises each case and channel to mean 0
    and deviation 1 on its own grid; ``fingerprint`` ``None`` inspects the data set first.

    Raises :class:`ProblemsError` for a data set with problems, :class:`OutputError` where the
    folder holds something else, :class:`WorkError` for a full disk.
    """
    folder = Path(folder)
    key = store_key(_about_files(dataset), preprocessing)
    if is_current(folder, key):
        return open_store(folder)
    if fingerprint is None:
        fingerprint = inspect_dataset(dataset, jobs=jobs, track=track)
    if fingerprint.problems:
        raise ProblemsError(fingerprint.problems)
    facts = {fact.id: fact for fact in fingerprint.cases}
    missing = [case.id for case in dataset.cases if case.id not in facts]
    if missing:
        raise StoreError(
            f"{dataset.root} holds the case '{missing[0]}', which its inspection does not know; "
            "inspect it again."
        )
    if preprocessing is None:
        flat = any(fact.dimension == 2 for fact in fingerprint.cases)
        preprocessing = Preprocessing(dimension=2 if flat else 3)
    sources = [
        Source(
            id=case.id,
            group=case.group,
            shape=facts[case.id].shape,
            spacing=facts[case.id].spacing,
            dtype=facts[case.id].dtype,
            channels=facts[case.id].channels,
            load=partial(_read_case, case, fingerprint.classes),
        )
        for case in dataset.cases
    ]
    return write_store(
        folder,
        sources,
        classes=fingerprint.classes,
        preprocessing=preprocessing,
        key=key,
        jobs=jobs,
        track=track,
    )


def _read_case(case: Case, classes: Classes) -> tuple[Image, Labels]:
    """Read one case's files; no mask means that nothing is there."""
    image = read_image(case.images)
    if case.mask is None:
        return image, np.zeros(image.array.shape[1:], np.uint8)
    mask = read_mask(case.mask).array
    return image, class_indices(mask, classes.values, classes.ignore_value)


def _about_files(dataset: Dataset) -> list[Any]:
    """Return what identifies the data set's inputs: paths, sizes, times and declared meaning."""
    declared = [dataset.labels, dataset.regions, dataset.ignore_value]
    cases: list[Any] = []
    for case in dataset.cases:
        paths = [*case.images, *([case.mask] if case.mask else [])]
        files = [file for path in paths for file in _files(path)]
        stamps = [(str(file.absolute()), *_stamp(file)) for file in files]
        cases.append([case.id, case.group, case.mask is None, stamps])
    return [declared, cases]


def _files(path: Path) -> list[Path]:
    """Return the file itself, or the files of a folder (a DICOM series)."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _stamp(file: Path) -> tuple[int, int]:
    """Return size and time of a file; a missing one is left to the inspection to report."""
    if not file.exists():
        return -1, -1
    about = file.stat()
    return about.st_size, about.st_mtime_ns
