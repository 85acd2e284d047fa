"""Reading and writing images and masks: which file is read by what.

Each format is a :class:`~rareseg.data.formats.format_registry.Format`; a module here lists those
that it reads as ``FORMATS``, and importing this package registers them. Volumes arrive in the
canonical orientation (see :mod:`rareseg.data.geometry`) and are written back in the file's own. NaN
and infinities pass through the readers; inspection reports them.
"""

from rareseg.data.formats import medical, netpbm, nifti, npy, photo, tiff
from rareseg.data.formats.format_registry import (
    IMAGE_SUFFIXES,
    Format,
    format_of,
    formats,
    mask_suffix,
    register,
    score_suffixes,
    stem_of,
    suffix_of,
)
from rareseg.data.formats.reading import is_image, read_case_image, read_image, read_mask
from rareseg.data.formats.writing import write_mask, write_probabilities

# Messages list suffixes in this order.
for _module in (photo, netpbm, tiff, npy, nifti, medical):
    for _format in _module.FORMATS:
        register(_format)

__all__ = [
    "IMAGE_SUFFIXES",
    "Format",
    "format_of",
    "formats",
    "is_image",
    "mask_suffix",
    "read_case_image",
    "read_image",
    "read_mask",
    "register",
    "score_suffixes",
    "stem_of",
    "suffix_of",
    "write_mask",
    "write_probabilities",
]
