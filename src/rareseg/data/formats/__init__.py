"""Reading and writing images and masks: which file is read by what.

Each format is a :class:`~rareseg.data.formats.format_registry.Format`; a module here lists those
that it reads as ``FORMATS``, and importing this package registers them. Volumes arrive in the
canonical orientation (see :mod:`rareseg.data.geometry`) and are written back in the file's own. NaN
and infinities pass through the readers; inspection reports them.
"""

from rareseg.data.formats import array_archives, netpbm, npy, photo, tiff
from rareseg.data.formats.format_registry import (
    EMBEDDING,
    IMAGE_SUFFIXES,
    Format,
    files_of,
    format_of,
    formats,
    header_of,
    mask_suffix,
    register,
    score_suffixes,
    stem_of,
    suffix_of,
)
from rareseg.data.formats.reading import (
    carries_both,
    is_image,
    largest_case,
    read_case_image,
    read_case_mask,
    read_image,
    read_mask,
    readers_at_once,
    said_beside,
    segments,
)
from rareseg.data.formats.volumes import (
    dicom_files,
    medical,
    nibabel_files,
    nifti,
    slicer_segmentation,
)
from rareseg.data.formats.volumes.slicer_segmentation import Segment
from rareseg.data.formats.writing import write_mask, write_probabilities

# Messages list suffixes in this order.
for _module in (
    *(photo, netpbm, tiff, npy, array_archives),
    *(nifti, nibabel_files, slicer_segmentation, medical, dicom_files),
):
    for _format in _module.FORMATS:
        register(_format)

__all__ = [
    "EMBEDDING",
    "IMAGE_SUFFIXES",
    "Format",
    "Segment",
    "carries_both",
    "files_of",
    "format_of",
    "formats",
    "header_of",
    "is_image",
    "largest_case",
    "mask_suffix",
    "read_case_image",
    "read_case_mask",
    "read_image",
    "read_mask",
    "readers_at_once",
    "register",
    "said_beside",
    "score_suffixes",
    "segments",
    "stem_of",
    "suffix_of",
    "write_mask",
    "write_probabilities",
]
