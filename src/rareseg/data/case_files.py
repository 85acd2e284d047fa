"""Read the image and the mask of a case, as many cases at a time as memory holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from joblib import Parallel, delayed, effective_n_jobs

from rareseg.data.records import Case
from rareseg_runner.formats import EMBEDDING, read_image, read_mask
from rareseg_runner.formats.geotiff import without_value
from rareseg_runner.formats.reader_guard import MOST_PACKED, declared_size
from rareseg_runner.formats.volumes.dicom_objects import is_dicom_object
from rareseg_runner.formats.volumes.slicer_segmentation import is_segmentation
from rareseg_runner.image_records import Image, Mask
from rareseg_runner.memory_limit import bytes_left


def read_case_image(case: Case) -> Image:
    """Read a case's image, without the value that is named for it to mean nothing.

    Of a case that is a mask alone, the file of the mask stands for it.
    """
    if case.images:
        image = read_image(case.images)
        return image if case.nodata_value is None else without_value(image, case.nodata_value)
    if not isinstance(case.mask, Path):
        return read_image(case.mask_files[:1])
    mask = read_mask(case.mask)
    return Image(mask.array[None], mask.geometry)


def read_case_mask(case: Case, image: Image | None = None) -> Mask | None:
    """Read a case's mask; ``None`` where the case holds nothing.

    A mask that is drawn in another way than as a file of mask values on its image's grid needs the
    image that it lies on: ``image``, or it is read here.

    Raises:
        ReadError: as :func:`read_mask`, and where the source of the mask cannot be read.
    """
    if case.mask is None:
        return None
    if isinstance(case.mask, Path) and not _is_on_image(case.mask):
        return read_mask(case.mask)
    image = read_image(case.images) if image is None else image
    if isinstance(case.mask, Path):
        return read_mask(case.mask, image=image)
    return case.mask.read(image)


def _is_on_image(path: Path) -> bool:
    """Whether a mask needs its image: drawn in DICOM, or a segmentation of a part of it."""
    return path.is_file() and (is_dicom_object(path) or is_segmentation(path))


def readers_at_once(cases: Sequence[Case], jobs: int, *, times: float = 1.0) -> int:
    """Return how many of ``jobs`` may each hold a case at a time; -1 are all processors.

    So many times the largest case fit into the memory that is left or allowed; at least one may,
    and an image that does not fit alone is refused where it is read. ``times`` is how many times
    the values of a case the work on it holds.
    """
    bound = _bound_of_pngs(cases)
    if bound is not None and jobs_within(round(bound * times), jobs) == effective_n_jobs(jobs):
        return jobs_within(0, jobs)  # of many small files no header need be read
    return jobs_within(round(largest_case(cases) * times), jobs)


def _bound_of_pngs(cases: Sequence[Case]) -> int | None:
    """Return the most bytes of values that a case of PNG files can hold, None for other files."""
    largest = 0
    for case in cases:
        files = [*case.images, *case.mask_files, *(path for _, path in case.annotations if path)]
        if any(file.suffix.lower() != ".png" for file in files):
            return None
        with suppress(OSError):
            largest = max(largest, sum(MOST_PACKED * file.stat().st_size for file in files))
    return largest


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


def jobs_within(job_bytes: int, jobs: int) -> int:
    """Return how many jobs of so many bytes may be done at a time: at least 1.

    At most ``jobs``, where -1 are as many as the machine has processors, as joblib counts. A job
    that does not fit alone is refused where its bytes are asked for.
    """
    most: int = effective_n_jobs(jobs)
    return max(1, min(most, bytes_left(job_bytes * most) // max(job_bytes, 1)))
