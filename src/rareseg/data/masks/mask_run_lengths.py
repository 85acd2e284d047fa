"""Write masks as run lengths and read them: COCO's two forms and Kaggle's pairs.

All go down the columns: pixel (row r, column c) of a mask of H rows is number c·H + r.

- COCO, plain: the lengths of runs that are off, on, off, …; the first is off and may be 0.
- COCO, compressed: the same as text (pycocotools' `counts`); from the third run on the difference
  to the run of the same kind before, five bits a character, lowest first.
- Kaggle: pairs "start length start length …" of the runs that are on, counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import DataError


def encode_counts(mask: NDArray[np.bool_]) -> list[int]:
    """Return the plain run lengths of ``mask`` (Y, X): off, on, off, …, their sum its pixels."""
    flat = np.asarray(mask, np.bool_).ravel(order="F")
    if flat.size == 0:
        return []
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts: list[int] = np.diff(changes, prepend=0, append=flat.size).tolist()
    return [0, *counts] if flat[0] else counts


def decode_counts(counts: Sequence[int], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return the mask (Y, X) of ``shape`` that plain run lengths describe.

    Raises :class:`DataError` where they are no whole numbers from 0 up or do not fill the shape.
    """
    height, width = int(shape[0]), int(shape[1])
    try:
        runs = np.asarray(counts, np.float64).reshape(-1)
    except (TypeError, ValueError):
        runs = np.array([np.nan])
    if not (np.isfinite(runs).all() and (runs >= 0).all() and (runs == np.floor(runs)).all()):
        raise DataError(f"run lengths are whole numbers from 0 up; found {str(list(counts))[:80]}.")
    if runs.sum() != height * width:
        raise DataError(
            f"the run lengths hold {runs.sum():.0f} pixels, and the image has "
            f"{width} × {height} = {width * height}."
        )
    on = np.arange(len(runs)) % 2 == 1
    return np.repeat(on, runs.astype(np.int64)).reshape((height, width), order="F")


def compress_counts(counts: Sequence[int]) -> str:
    """Return plain run lengths in COCO's compressed form, as pycocotools writes it."""
    text = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        while True:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            text.append(chr((bits | (0x20 if more else 0)) + 48))
            if not more:
                break
    return "".join(text)


def decompress_counts(text: str) -> list[int]:
    """Return the plain run lengths of COCO's compressed form.

    Raises :class:`DataError` for characters that it does not use and for a text that was cut.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(f"{character!r} is no character of compressed run lengths.")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("compressed run lengths end in the middle of a number.")
    return counts


def encode_pairs(mask: NDArray[np.bool_]) -> str:
    """Return Kaggle's "start length …" of ``mask`` (Y, X), counted from 1; "" where it is empty."""
    flat = np.asarray(mask, np.int8).ravel(order="F")
    steps = np.diff(flat, prepend=np.int8(0), append=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))


def decode_pairs(text: str, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return the mask (Y, X) of ``shape`` that Kaggle's pairs describe; "" and "-1" are empty.

    Raises :class:`DataError` for what is no pairs of whole numbers, and for runs that begin before
    pixel 1 or end after the last one.
    """
    height, width = int(shape[0]), int(shape[1])
    mask = np.zeros(height * width, np.bool_)
    words = text.split()
    if words in ([], ["-1"]):
        return mask.reshape((height, width), order="F")
    try:
        numbers = np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError):
        numbers = np.zeros(1, np.int64)
    if len(numbers) % 2:
        raise DataError(f'run lengths are pairs "start length"; found "{text[:60]}".')
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if (starts < 0).any() or (lengths < 0).any() or (starts + lengths > mask.size).any():
        raise DataError(
            f"the run lengths leave the image: its pixels are 1 to {mask.size}, and they hold "
            f"starts from {starts.min() + 1} on and end at {(starts + lengths).max()}."
        )
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        mask[start : start + length] = True
    return mask.reshape((height, width), order="F")
