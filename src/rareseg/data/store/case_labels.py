"""Read a case's labels as class indices on its image, leaving out what the image does not show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_mask
from rareseg.data.records import Case
from rareseg_runner.image_records import IGNORE, Classes, Image
from rareseg_runner.preprocessing.preprocess import class_indices


def read_labels(case: Case, classes: Classes, image: Image) -> NDArray[np.uint8]:
    """Return a case's class indices (z, y, x); a case without a mask holds nothing.

    Voxels of which the image says that nothing was measured (``nodata``) are ``IGNORE``: what was
    drawn there can be neither learned nor missed. Raises :class:`~rareseg.errors.ReadError`, and
    :class:`~rareseg.errors.DataError` for a value that is no class.
    """
    mask = read_case_mask(case, image)
    if mask is None:
        labels = np.zeros(image.array.shape[1:], np.uint8)
    else:
        labels = class_indices(mask.array, classes.values, classes.ignore_value)
    if image.nodata is not None and image.nodata.shape == labels.shape:
        labels[image.nodata] = IGNORE
    return labels
