"""Tell what the images of a training are like, as a model keeps it to refuse unlike ones."""

from __future__ import annotations

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.photo_channels import COLOURS


def facts_of_images(fingerprint: Fingerprint, nodata_value: str | None = None) -> ImageFacts | None:
    """Return the facts of the images that inspection read; None where there are none."""
    cases = fingerprint.cases
    if not cases:
        return None
    channels = range(min(len(case.intensities) for case in cases))
    dimension = cases[0].dimension
    spacings = list(zip(*(case.spacing for case in cases), strict=True))
    return ImageFacts(
        dimension=dimension,
        dtypes=tuple(sorted({case.dtype for case in cases})),
        low=tuple(min(case.intensities[k].low for case in cases) for k in channels),
        high=tuple(max(case.intensities[k].high for case in cases) for k in channels),
        finest=tuple(map(min, spacings)) if dimension == 3 else None,
        coarsest=tuple(map(max, spacings)) if dimension == 3 else None,
        grey=all(len(set(case.intensities)) == 1 for case in cases)
        if dimension == 2 and len(channels) == COLOURS
        else None,
        nodata_value=nodata_value,
    )
