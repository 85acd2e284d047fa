"""Make a store of the same images under other labels, without copying the images."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.folder_lock import one_writer
from rareseg.data.store.store import TABLE, CaseIndex, Store, about_store, open_store, read_about
from rareseg.data.store.store_checksums import KEY, checksum, with_checksums
from rareseg.data.store.store_writing import BUILD_WAIT_S, open_current
from rareseg.progress import Track, silent
from rareseg_runner.atomic_files import atomic_folder
from rareseg_runner.image_records import Classes

Relabelled = Callable[[int], NDArray[np.uint8]]
"""Takes a row of the store and returns its new class indices (Z, Y, X)."""


@one_writer("folder", beside=True, wait_s=BUILD_WAIT_S)
def relabel(
    store: Store,
    folder: Path,
    labels: Relabelled,
    *,
    classes: Classes,
    key: str,
    track: Track = silent,
    doing: str = "labelling anew",
) -> Store:
    """Write the cases of ``store`` with other labels to ``folder``, or open what is there.

    ``key`` names what the labels were made from: a store of the same key is opened as it is. Images
    are linked, not copied, where the disk can. Raises :class:`~rareseg.errors.OutputError` where
    the folder holds something else, :class:`~rareseg.errors.WorkError` for a full disk.
    """
    known = open_current(folder, key)
    if known is not None:
        return known
    about = read_about(store.folder)
    whole = open_store(store.folder, verify=False).cases
    sums = [checksum(np.zeros(shape, np.uint8)) for shape in whole.shape]
    with atomic_folder(folder, is_synced=True) as temporary:
        _link(store.folder / "images.bin", temporary / "images.bin")
        with (temporary / "labels.bin").open("wb") as file:
            file.truncate(about["label_voxels"])
            for row in track(range(len(store)), doing, len(store)):
                label = np.ascontiguousarray(labels(row), np.uint8)
                file.seek(int(store.cases.label_offset[row]))
                file.write(label.data)
                sums[whole.ids.index(store.cases.ids[row])] = checksum(label)
        np.savez(
            temporary / TABLE,
            allow_pickle=False,
            **{name: getattr(whole, name) for name in CaseIndex.NUMBERS},
        )
        content = about_store(whole, classes, store.preprocessing, key) | {
            name: about[name] for name in ("dtype", "image_voxels", "label_voxels")
        }
        if KEY in about:
            content = with_checksums(content, temporary / TABLE, about[KEY]["images"], sums)
        (temporary / "store.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return open_store(folder, verify=False)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
