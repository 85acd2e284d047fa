"""How many images may be read at a time: all that are in memory together fit into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from joblib import Parallel, delayed

from rareseg.data.formats.format_registry import EMBEDDING
from rareseg.data.formats.reader_guard import declared_size
from rareseg.data.formats.reading import read_image, read_mask
from rareseg.data.formats.volumes.dicom_objects import is_dicom_object
from rareseg.data.records import Case
from rareseg.memory_limit import jobs_within


def readers_at_once(cases: Sequence[Case], jobs: int, *, times: float = 1.0) -> int:
    """Return how many of ``jobs`` may each hold a case at a time; -1 are all processors.

    So many times the largest case fit into the memory that is left or allowed; at least one may,
    and an image that does not fit alone is refused where it is read. ``times`` is how many times
    the values of a case the work on it holds.
    """
    return jobs_within(round(largest_case(cases) * times), jobs)


def largest_case(cases: Iterable[Case]) -> int:
    """Return the bytes of values that the largest case declares: image, mask and annotations.

    The headers are read, not the values. Folders of slices, annotation files and DICOM
    segmentations count as what their files hold. Masks that are drawn in another way than as a file
    of their own count nothing.
    """
    sizes = Parallel(n_jobs=-1, prefer="threads")(delayed(_case_bytes)(case) for case in cases)
    return max(sizes, default=0)


def _case_bytes(case: Case) -> int:
    masks = (case.mask, *(drawn for _, drawn in case.annotations))
    images = sum(_bytes(path, as_mask=False) for path in case.images)
    return images + sum(_bytes(mask, as_mask=True) for mask in masks if isinstance(mask, Path))


def _bytes(path: Path, *, as_mask: bool) -> int:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
        if path.suffix.lower() == EMBEDDING or is_dicom_object(path):
            return path.stat().st_size  # parsed as a whole, which takes as long as reading
    except OSError:
        return 0
    return declared_size(lambda: read_mask(path) if as_mask else read_image([path]))
