"""Write a store in parallel, and whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from rareseg.data.case_files import jobs_within
from rareseg.data.store.store import (
    TABLE,
    VERSION,
    CaseIndex,
    Store,
    about_store,
    open_store,
    read_about,
)
from rareseg.data.store.store_checksums import checksum, with_checksums
from rareseg.errors import DataError, OutputError, StoreError, WorkError
from rareseg.progress import Track, silent
from rareseg_runner.atomic_files import atomic_folder
from rareseg_runner.image_records import Classes, Image
from rareseg_runner.preprocessing.preprocess import (
    Preprocessing,
    prepare,
    prepared_shape,
    stored_dtype,
)
from rareseg_runner.preprocessing.resampling import resample_labels

Labels = NDArray[np.uint8]

BUILD_WAIT_S = 3600.0
"""Seconds that a process waits for another one, which builds the same store."""


@dataclass(frozen=True)
class Source:
    """One case before it is stored: what is known of it, and how to load image and labels.

    ``shape`` and ``spacing`` (z, y, x) and ``dtype`` are the raw image's. ``load`` returns the
    image and its class indices (Z, Y, X); it can be pickled, so that workers may call it.
    """

    id: str
    group: str | None
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    dtype: str
    channels: int
    load: Callable[[], tuple[Image, Labels]]


def write_store(
    folder: Path,
    sources: Sequence[Source],
    *,
    classes: Classes,
    preprocessing: Preprocessing,
    key: str,
    jobs: int,
    track: Track = silent,
) -> Store:
    """Write the store into a temporary folder, case by case in parallel, and rename it.

    Raises :class:`DataError` for no case at all, differing channels or an unusable image,
    :class:`StoreError` where a file is not what was inspected, :class:`WorkError` for a full disk.
    """
    if not sources:
        raise DataError(f"{folder} cannot be built: the data set holds no case.")
    resampled = [_planned_shape(source, preprocessing) != source.shape for source in sources]
    kinds = {
        stored_dtype(source.dtype, resampled=changed)
        for source, changed in zip(sources, resampled, strict=True)
    }
    dtype = kinds.pop() if len(kinds) == 1 else np.dtype(np.int16)
    table = _empty_table(sources, preprocessing)
    voxels = np.prod(table.shape, axis=1, dtype=np.int64)
    sizes = int(voxels.sum()) * table.scale.shape[1], int(voxels.sum())
    _check_space(folder, sizes[0] * dtype.itemsize + sizes[1])
    images, labels = [0] * len(sources), [0] * len(sources)
    with atomic_folder(folder, is_synced=True) as temporary:
        for name, size in (("images.bin", sizes[0] * dtype.itemsize), ("labels.bin", sizes[1])):
            with (temporary / name).open("wb") as file:
                file.truncate(size)
        at_once = jobs_within(_largest_job(sources, voxels, dtype), jobs)
        work = Parallel(n_jobs=at_once, prefer="threads", return_as="generator")(
            delayed(_store_case)(
                source,
                preprocessing,
                temporary,
                dtype,
                int(table.image_offset[row]),
                int(table.label_offset[row]),
            )
            for row, source in enumerate(sources)
        )
        for row, numbers in enumerate(track(work, "writing the store", len(sources))):
            table.scale[row], table.offset[row], table.background[row] = numbers[:3]
            images[row], labels[row] = numbers[3:]
        np.savez(
            temporary / TABLE,
            allow_pickle=False,
            **{name: getattr(table, name) for name in CaseIndex.NUMBERS},
        )
        about = about_store(table, classes, preprocessing, key) | {
            "dtype": str(dtype),
            "image_voxels": sizes[0],
            "label_voxels": sizes[1],
        }
        about = with_checksums(about, temporary / TABLE, images, labels)
        (temporary / "store.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return open_store(folder, verify=False)


def _largest_job(sources: Sequence[Source], voxels: NDArray[np.int64], dtype: np.dtype[Any]) -> int:
    """Return the bytes of the case that takes the most: its image and labels, read and stored."""
    return max(
        source.channels * math.prod(source.shape) * np.dtype(source.dtype).itemsize
        + math.prod(source.shape)
        + int(stored) * (source.channels * dtype.itemsize + 1)
        for source, stored in zip(sources, voxels, strict=True)
    )


def _store_case(
    source: Source,
    preprocessing: Preprocessing,
    folder: Path,
    dtype: np.dtype[Any],
    image_offset: int,
    label_offset: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], int, int]:
    """Prepare one case and write it at its place.

    Returns its (scale, offset, background) and the checksums of its image and its labels.
    """
    try:
        image, labels = source.load()
        if image.array.shape != (source.channels, *source.shape) or labels.shape != source.shape:
            raise StoreError(
                f"the image is {image.array.shape} and the mask {labels.shape} where "
                f"{(source.channels, *source.shape)} was inspected; inspect the data again."
            )
        prepared = prepare(image, preprocessing)
    except (DataError, StoreError) as error:
        raise type(error)(f"Case '{source.id}': {error}") from error
    labels = np.ascontiguousarray(resample_labels(labels, prepared.array.shape[1:]))
    stored = np.ascontiguousarray(prepared.array, dtype)
    # Written, not mapped: a full disk is then an error, where a mapped page would kill the process.
    with (folder / "images.bin").open("r+b") as file:
        file.seek(image_offset * dtype.itemsize)
        file.write(stored.data)
    with (folder / "labels.bin").open("r+b") as file:
        file.seek(label_offset)
        file.write(labels.data)
    sums = checksum(stored), checksum(labels)
    return prepared.scale, prepared.offset, prepared.background, *sums


def _empty_table(sources: Sequence[Source], preprocessing: Preprocessing) -> CaseIndex:
    """Return the table of what is known before any case is read."""
    channels = {source.channels for source in sources}
    if len(channels) > 1:
        raise DataError(
            f"The cases have {', '.join(map(str, sorted(channels)))} channels; "
            "every case must have the same."
        )
    count = channels.pop()
    shape = np.array([_planned_shape(source, preprocessing) for source in sources], np.int32)
    raw = np.array([source.shape for source in sources])
    spacing = np.array([source.spacing for source in sources], np.float64) * raw / shape
    ends = np.cumsum(np.prod(shape, axis=1, dtype=np.int64))
    starts = np.concatenate([[0], ends[:-1]])
    scale, offset, background = np.zeros((3, len(sources), count), np.float32)
    return CaseIndex(
        ids=tuple(source.id for source in sources),
        groups=tuple(source.group for source in sources),
        image_offset=starts * count,
        label_offset=starts,
        shape=shape,
        spacing=spacing,
        scale=scale,
        offset=offset,
        background=background,
    )


def _planned_shape(source: Source, preprocessing: Preprocessing) -> tuple[int, int, int]:
    return prepared_shape(source.shape, source.spacing, preprocessing)


def open_current(folder: Path, key: str) -> Store | None:
    """Open the store of this key, if it is there and undamaged; refuse what is not a store."""
    if not is_current(folder, key):
        return None
    try:
        return open_store(folder)
    except StoreError:
        return None  # what is damaged is built again


def is_current(folder: Path, key: str) -> bool:
    """Tell whether the folder holds the store of this key; refuse what is not a store."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not (folder / "store.json").is_file():
        raise OutputError(
            f"{folder} exists and is not a store; choose another folder or an empty one."
        )
    try:
        return bool(read_about(folder)["key"] == key)
    except StoreError:
        # A damaged store, or one of an earlier version, is built again.
        return False


def _check_space(folder: Path, needed: int) -> None:
    """Refuse to begin where the disk has too little space (bytes)."""
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise WorkError(
            f"The store {folder} needs {needed / 1e9:.2f} GB while {free / 1e9:.2f} GB are free; "
            "make room or choose a folder on another disk."
        )


def store_key(inputs: Any, preprocessing: Preprocessing | None) -> str:
    """Return the hexadecimal key of inputs and preprocessing."""
    settings = None if preprocessing is None else asdict(preprocessing)
    text = json.dumps([VERSION, settings, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
