"""Write a mask that is drawn in another way as a file of mask values."""

from __future__ import annotations

from pathlib import Path

from rareseg.data.formats import mask_suffix, read_case_image, write_mask
from rareseg.data.records import Case, MaskSource


def as_mask_file(case: Case, folder: Path) -> Path | None:
    """Return the file of a case's mask; one that is drawn in another way is written into a folder.

    ``None`` where the case holds nothing. ``folder`` is made where it is needed. Raises ReadError
    where the mask cannot be read, and what :func:`rareseg.data.formats.write_mask` raises.
    """
    if not isinstance(case.mask, MaskSource):
        return case.mask
    image = read_case_image(case)
    mask = case.mask.read(image)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.id}{mask_suffix(case.images[0])}"
    write_mask(path, mask.array, image.geometry)
    return path
