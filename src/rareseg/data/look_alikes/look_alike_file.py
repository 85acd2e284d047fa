"""Read and write what cases look like, so that copies are found without their images."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.look_alikes.pairs import ComparedCase
from rareseg.data.look_alikes.thumbnails import Thumbnail
from rareseg.errors import DataError
from rareseg_runner.atomic_files import atomic_write

_AXES = 3


def write_compared(path: Path, cases: Sequence[ComparedCase]) -> None:
    """Write what is known of cases to an ``.npz``, atomically; about 5 KB a photograph.

    Raises :class:`~rareseg.errors.WorkError` where that fails.
    """
    small = [case.thumbnail for case in cases if case.thumbnail is not None]
    about = [[case.id, case.group, case.digest, case.thumbnail is not None] for case in cases]
    with atomic_write(path) as temporary, temporary.open("wb") as target:
        np.savez_compressed(
            target,
            about=np.frombuffer(json.dumps(about).encode("utf-8"), np.uint8),
            pictures=_joined([one.picture for one in small], np.int8),
            picture_shapes=_shapes([one.picture.shape for one in small]),
            spectra=_joined([one.spectrum for one in small], np.float16),
            spectrum_shapes=_shapes([one.spectrum.shape for one in small]),
            extents=np.array([one.extent for one in small], np.float64),
            shapes=_shapes([one.shape for one in small]),
        )


def read_compared(path: Path) -> tuple[ComparedCase, ...]:
    """Read what :func:`write_compared` wrote; () where there is no file.

    Raises :class:`~rareseg.errors.DataError` where it is damaged.
    """
    if not path.is_file():
        return ()
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays["about"].tobytes().decode("utf-8"))
        pictures = iter(_apart(arrays["pictures"], arrays["picture_shapes"]))
        spectra = iter(_apart(arrays["spectra"], arrays["spectrum_shapes"]))
        extents, shapes = iter(arrays["extents"].tolist()), iter(arrays["shapes"].tolist())
        return tuple(
            ComparedCase(
                str(name),
                group,
                str(digest),
                Thumbnail(next(pictures), next(extents), _known(next(shapes)), next(spectra))
                if has_structure
                else None,
            )
            for name, group, digest, has_structure in about
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); copy the whole folder again.") from error


def _joined(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *(array.ravel() for array in arrays)])


def _shapes(shapes: Sequence[tuple[int, ...]]) -> NDArray[np.int64]:
    """Return shapes of up to three axes as one array (n, 3), filled up with zeros."""
    filled = [(*shape, *(0,) * (_AXES - len(shape))) for shape in shapes]
    return np.array(filled, np.int64).reshape(-1, _AXES)


def _known(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(side for side in shape if side)


def _apart(joined: NDArray[Any], shapes: NDArray[np.int64]) -> list[NDArray[Any]]:
    sides = [_known(shape) for shape in shapes.tolist()]
    ends = np.cumsum([int(np.prod(own)) for own in sides], dtype=np.int64)
    if int(ends[-1] if len(ends) else 0) != joined.size:
        raise ValueError("its pictures do not have the shapes that it states")
    parts = np.split(joined, ends[:-1]) if len(ends) else []
    return [part.reshape(own) for part, own in zip(parts, sides, strict=True)]
