"""Checksums of a store: of each case's image and labels, of the table and of what describes it.

CRC-32 finds any burst of 32 bits and misses one other fault in 4 · 10⁹; whoever wants to forge a
store can. It is computed at 1 GB a second and more on each core.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from rareseg.errors import StoreError

KEY = "checksums"
"""Of ``store.json``; stores of earlier versions have none, and are taken as they are."""


def checksum(array: NDArray[Any]) -> int:
    """Return the checksum of an array's bytes in C order."""
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def with_checksums(
    about: Mapping[str, Any], table: Path, images: Sequence[int], labels: Sequence[int]
) -> dict[str, Any]:
    """Return what ``store.json`` says, with checksums of it, of the table's file and of the cases.

    ``images`` and ``labels`` are the checksums of each case, in the order of the table.
    """
    sums = {
        "images": list(images),
        "labels": list(labels),
        "table": zlib.crc32(table.read_bytes()),
        "record": _of_record(about),
    }
    return {**about, KEY: sums}


def require_record(folder: Path, about: Mapping[str, Any], table: Path) -> None:
    """Raise :class:`StoreError` where the description or the table is not what was written."""
    sums = about.get(KEY)
    if sums is None:
        return
    try:
        damaged = [
            name
            for name, held, stated in (
                ("store.json", _of_record(about), sums["record"]),
                (table.name, zlib.crc32(table.read_bytes()), sums["table"]),
            )
            if held != stated
        ]
    except (OSError, KeyError, TypeError) as error:
        raise _damaged(folder, f"its checksums cannot be read: {error}") from error
    if damaged:
        raise _damaged(folder, f"the checksum of {damaged[0]} differs")


def require_cases(
    folder: Path,
    about: Mapping[str, Any],
    images: Sequence[NDArray[Any]],
    labels: Sequence[NDArray[Any]],
) -> None:
    """Raise :class:`StoreError` that names the first case whose bytes are not what was written.

    Each case is read once, in parallel.
    """
    sums = about.get(KEY)
    if sums is None:
        return
    arrays = [*images, *labels]
    stated = [*sums.get("images", ()), *sums.get("labels", ())]
    # The checksum releases the interpreter's lock, so that threads are enough.
    held = Parallel(n_jobs=-1, prefer="threads")(delayed(checksum)(array) for array in arrays)
    if len(held) != len(stated):
        raise _damaged(folder, f"it holds {len(held)} arrays and {len(stated)} checksums")
    for number, (found, wanted) in enumerate(zip(held, stated, strict=True)):
        if found != wanted:
            what = "image" if number < len(images) else "labels"
            case = about["ids"][number % len(images)]
            raise _damaged(folder, f"the checksum of the {what} of case '{case}' differs")


def _of_record(about: Mapping[str, Any]) -> int:
    plain = json.loads(json.dumps({name: own for name, own in about.items() if name != KEY}))
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def _damaged(folder: Path, why: str) -> StoreError:
    return StoreError(f"{folder} is a damaged store ({why}); delete it and build it again.")
