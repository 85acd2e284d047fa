"""Write a mask that is drawn in another way as a file of mask values."""

from __future__ import annotations

from pathlib import Path

from rareseg.data.case_files import read_case_image
from rareseg.data.records import Case, MaskSource
from rareseg_runner.formats import mask_suffix, write_mask


def as_mask_file(case: Case, folder: Path) -> Path | None:
    """Return the file of a case's mask; one that is drawn in another way is written into a folder.

    ``None`` where the case holds nothing. ``folder`` is made where it is needed. Raises ReadError
    where the mask cannot be read, and what :func:`rareseg_runner.formats.write_mask` raises.
    """
    if not isinstance(case.mask, MaskSource):
        return case.mask
    image = read_case_image(case)
    mask = case.mask.read(image)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.id}{mask_suffix(case.images[0])}"
    write_mask(path, mask.array, image.geometry)
    return path
