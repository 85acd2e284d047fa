"""The store: all cases in one flat memory-mapped array, beside a table of cases.

A store is a folder of four files: ``images.bin`` (uint8 or int16) and ``labels.bin`` (uint8 class
indices), each all cases end to end, ``cases.npz`` (where each case lies, and its scale and offset)
and ``store.json`` (names, classes, preprocessing, checksums, and the key of what it was made from).
It is written by :mod:`rareseg.data.store.store_writing` and only read from here.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.store.store_checksums import require_cases, require_record
from rareseg.errors import StoreError, UsageError, nearest
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing, decode
from rareseg_runner.text_files import read_json

FORMAT = "rareseg-store"
TABLE = "cases.npz"
VERSION = 1


@dataclass(frozen=True, eq=False)
class CaseIndex:
    """Where each of n cases of C channels lies in the flat arrays, and what its integers mean.

    ``image_offset`` and ``label_offset`` (n,) int64 count voxels and ascend; ``shape`` (n, 3) int32
    and ``spacing`` (n, 3) float64 (mm) are z, y, x; ``scale``, ``offset`` and ``background`` (n, C)
    float32 are as in :class:`rareseg_runner.preprocessing.preprocess.Prepared`. ``groups`` holds
    ``None`` where none is known.
    """

    ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    image_offset: NDArray[np.int64]
    label_offset: NDArray[np.int64]
    shape: NDArray[np.int32]
    spacing: NDArray[np.float64]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    background: NDArray[np.float32]

    NUMBERS = ("image_offset", "label_offset", "shape", "spacing", "scale", "offset", "background")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: list[int]) -> CaseIndex:
        """Return the table of these rows alone."""
        return CaseIndex(
            ids=tuple(self.ids[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            **{name: getattr(self, name)[rows] for name in self.NUMBERS},
        )


@dataclass(frozen=True, eq=False)
class Store:
    """The cases of a data set, ready to be looked at anywhere.

    ``images`` (flat, uint8 or int16) holds each case as C-ordered (C, Z, Y, X) and ``labels``
    (flat uint8 class indices, ``IGNORE`` = 255) as (Z, Y, X); both are read-only views of mapped
    files. ``key`` names the inputs and the preprocessing that it was made from. A pickled store
    is a path and the case ids; it opens the files again where it arrives.
    """

    folder: Path
    images: NDArray[Any]
    labels: NDArray[np.uint8]
    cases: CaseIndex
    classes: Classes
    preprocessing: Preprocessing
    key: str

    def __len__(self) -> int:
        return len(self.cases)

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Path, str, tuple[str, ...]]]:
        return _reopen, (self.folder, self.key, self.cases.ids)

    @property
    def channels(self) -> int:
        """The number of image channels."""
        return int(self.cases.scale.shape[1])

    def row(self, case_id: str) -> int:
        """Return the row of a case in the table; raise :class:`UsageError` for an unknown id."""
        try:
            return self.cases.ids.index(case_id)
        except ValueError:
            raise UsageError(
                f"The store {self.folder} holds no case '{case_id}'"
                f"{nearest(case_id, self.cases.ids)}; it holds {len(self)} cases."
            ) from None

    def image(self, row: int) -> NDArray[Any]:
        """Return a case's stored integers, a read-only view (C, Z, Y, X)."""
        shape = (self.channels, *map(int, self.cases.shape[row]))
        start = int(self.cases.image_offset[row])
        return self.images[start : start + int(np.prod(shape))].reshape(shape)

    def values(self, row: int) -> NDArray[np.float32]:
        """Return a case as the network sees it, float32 (C, Z, Y, X)."""
        return decode(self.image(row), self.cases.scale[row], self.cases.offset[row])

    def label(self, row: int) -> NDArray[np.uint8]:
        """Return a case's class indices, a read-only view (Z, Y, X)."""
        shape = tuple(map(int, self.cases.shape[row]))
        start = int(self.cases.label_offset[row])
        return self.labels[start : start + int(np.prod(shape))].reshape(shape)

    def subset(self, ids: Iterable[str]) -> Store:
        """Return a store of these cases alone, over the same arrays, in the order of this store.

        Raises :class:`UsageError` for an id that the store does not hold.
        """
        rows = {case_id: row for row, case_id in enumerate(self.cases.ids)}
        wanted = sorted({rows[i] if i in rows else self.row(i) for i in ids})
        return replace(self, cases=self.cases.select(wanted))


def open_store(folder: Path | str, *, verify: bool = True) -> Store:
    """Open a store that :func:`rareseg.data.store.build.build_store` wrote.

    With ``verify`` every case is read once, in parallel, and compared with its checksum; without,
    the table and the description alone are.

    Raises :class:`StoreError` where the folder is no store, is incomplete or damaged, or was
    written by another version.
    """
    folder = Path(folder)
    about = read_about(folder)
    require_record(folder, about, folder / TABLE)
    try:
        with np.load(folder / TABLE, allow_pickle=False) as numbers:
            table = {name: numbers[name] for name in CaseIndex.NUMBERS}
        dtype = np.dtype(about["dtype"])
        images = _mapped(folder / "images.bin", dtype, about["image_voxels"])
        labels = _mapped(folder / "labels.bin", np.dtype(np.uint8), about["label_voxels"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(
            f"{folder} is a damaged store ({error}); delete it and build it again."
        ) from error
    store = Store(
        folder=folder,
        images=images,
        labels=labels,
        cases=CaseIndex(ids=tuple(about["ids"]), groups=tuple(about["groups"]), **table),
        classes=Classes.from_dict(about["classes"]),
        preprocessing=Preprocessing.from_dict(about["preprocessing"]),
        key=about["key"],
    )
    if verify:
        rows = range(len(store))
        require_cases(folder, about, [*map(store.image, rows)], [*map(store.label, rows)])
    return store


def read_about(folder: Path) -> dict[str, Any]:
    """Read ``store.json``; raise :class:`StoreError` where it is missing or of another version."""
    try:
        about: dict[str, Any] = read_json(folder / "store.json")
    except FileNotFoundError as error:
        raise StoreError(
            f"{folder} holds no store (store.json is missing); build one with build_store."
        ) from error
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder / 'store.json'} cannot be read ({error}); delete it and build it again."
        ) from error
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise StoreError(
            f"{folder} is a '{about.get('format')}' of version {about.get('version')}, expected "
            f"'{FORMAT}' of version {VERSION}; delete it and build it again."
        )
    return about


def about_store(
    cases: CaseIndex, classes: Classes, preprocessing: Preprocessing, key: str
) -> dict[str, Any]:
    """Return the part of ``store.json`` that says what the store means."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "key": key,
        "preprocessing": preprocessing.to_dict(),
        "classes": classes.to_dict(),
        "ids": cases.ids,
        "groups": cases.groups,
    }


def _mapped(path: Path, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """Map a flat file of exactly ``size`` items for reading, as a plain array."""
    met = path.stat().st_size
    if met != size * dtype.itemsize:
        raise ValueError(f"{path.name} has {met} bytes, expected {size * dtype.itemsize}")
    # Compiled kernels know plain arrays, not the memmap subclass.
    return np.memmap(path, dtype=dtype, mode="r", shape=(size,)).view(np.ndarray)


def _reopen(folder: Path, key: str, ids: tuple[str, ...]) -> Store:
    """Open a pickled store where it arrived."""
    store = open_store(folder, verify=False)
    if store.key != key:
        raise StoreError(
            f"{folder} was rebuilt from other inputs while a part of the work still used the old "
            "store; start again."
        )
    return store if store.cases.ids == ids else store.subset(ids)
