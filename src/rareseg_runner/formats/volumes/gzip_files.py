"""Read the beginning of a file that may be compressed with gzip, as far as it is needed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.reader_guard import PLAUSIBLE_BYTES

_HEAD = 1024
"""Bytes of a file in which its header lies."""
_STEP = 1 << 20


def read_packed(path: Path, needed: Callable[[bytes], int]) -> bytes:
    """Return the first ``needed(head)`` bytes of a file's content, decompressed.

    ``head`` are the first 1024 bytes, or all where there are fewer. What follows of a compressed
    file is decompressed and dropped, so that its checksum is compared, and memory does not grow
    with it. Fewer bytes than needed are returned as they are.

    Raises ReadError where it cannot be decompressed to its end, and where far more follows.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if not packed:
            return _head_and_rest(stream, needed)
        try:
            with gzip.GzipFile(fileobj=stream) as unpacking:
                content = _head_and_rest(cast(BinaryIO, unpacking), needed)
                dropped = 0
                while step := len(unpacking.read(_STEP)):
                    dropped += step
                    if dropped > PLAUSIBLE_BYTES:
                        raise ReadError(
                            f"{path} goes on for more than {PLAUSIBLE_BYTES >> 30} GiB after its "
                            "last voxel; export it again."
                        )
        except (OSError, EOFError, zlib.error) as error:
            raise ReadError(
                f"{path} cannot be decompressed ({error}): it is truncated or damaged; "
                "copy or export it again."
            ) from error
        return content


def _head_and_rest(stream: BinaryIO, needed: Callable[[bytes], int]) -> bytes:
    head = stream.read(_HEAD)
    more = needed(head) - len(head)
    return head + stream.read(more) if more > 0 else head
