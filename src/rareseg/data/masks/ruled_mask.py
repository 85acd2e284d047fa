"""Masks whose files are read by rules: inverted, cut at a value, by colour, at another size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import Case, MaskRules, MaskSource
from rareseg.errors import ReadError
from rareseg_runner.formats import format_of, read_image, read_mask
from rareseg_runner.image_records import Image, Mask, Palette

CUT = 128
"""Where a mask that was compressed with loss is cut, of values 0 to 255."""
MOST_BETWEEN = 0.02
"""The largest share of pixels that are neither dark nor bright at which that is done unasked."""
WHITE = 255
"""The label value of what is drawn there, as in masks beside it that were kept without loss."""
PIXELS_OFF = 2
"""By so many pixels an exporter's rounding may change a mask's size."""
MOST_DISTORTION = 0.1
"""By so much the scales along two axes may differ where a mask is another size."""


@dataclass(frozen=True)
class RuledMask(MaskSource):
    """A mask in a file, or drawn otherwise, of which labels are made by rules.

    In this order: colours or a threshold give labels, where those are asked for; 0 and the rest
    change places; numbered objects become one class; the mask is brought to its image's size. A
    file that was compressed with loss is cut at ``CUT`` where its pixels are black and white but
    for a few. Voxels of ``rules.ignore_value`` stay what they are.
    """

    source: Path | MaskSource
    rules: MaskRules

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, or those of the drawn mask."""
        return (self.source,) if isinstance(self.source, Path) else self.source.files

    def read(self, image: Image) -> Mask:
        """Return the labels on the image's grid; ReadError where the rules do not fit the file."""
        mask = self._labels(image)
        mask = replace(mask, array=_by_rules(mask.array, self.rules))
        if self.rules.resize and mask.array.shape != image.array.shape[1:]:
            mask = _resized(mask, image, self.source)
        return mask

    def _labels(self, image: Image) -> Mask:
        if isinstance(self.source, Path):
            return read_file(self.source, self.rules, image)
        return self.source.read(image)


def read_file(path: Path, rules: MaskRules, image: Image | None = None) -> Mask:
    """Return the labels of a file, before anything that every source of masks goes through.

    ``image`` is what it lies on, for formats that may hold a part of the image's grid alone.
    """
    found = None if path.is_dir() else format_of(path)
    if rules.colours not in ((), ("index",)):
        return _by_colour(path, rules)
    if rules.binarize is not None:
        return _cut(path, rules.binarize)
    if found is not None and found.lossy:
        return _cut_lossy(path, found.name)
    return read_mask(path, image=image)


def with_rules(cases: Sequence[Case], rules: MaskRules) -> tuple[Case, ...]:
    """Return the cases with masks, and images, that are read by the rules.

    Label values in files that the rules do not touch stay files. Raises UsageError where the
    order of drawing cannot be turned round.
    """
    cases = tuple(replace(case, mask=_ruled(case.mask, rules)) for case in cases)
    if rules.nodata_value is None:
        return cases
    named = None if rules.nodata_value == "none" else rules.nodata_value
    return tuple(replace(case, nodata_value=named) for case in cases)


def _ruled(mask: Path | MaskSource | None, rules: MaskRules) -> Path | MaskSource | None:
    if mask is None or isinstance(mask, RuledMask):
        return mask
    if isinstance(mask, MaskSource):
        ordered = mask.earlier_on_top() if rules.overlap == "earlier" else mask
        touched = rules.invert or rules.resize or rules.values_are == "objects"
        return RuledMask(ordered, rules) if touched else ordered
    found = format_of(mask)
    lossy = found is not None and found.lossy
    return RuledMask(mask, rules) if rules.change_files or lossy else mask


def _by_rules(array: NDArray[np.integer], rules: MaskRules) -> NDArray[np.integer]:
    if not rules.invert and rules.values_are != "objects":
        return array
    on: NDArray[np.bool_] = array == 0 if rules.invert else array != 0
    if rules.ignore_value is None:
        return on.astype(np.uint8)
    ignored = array == rules.ignore_value
    kind = np.min_scalar_type(rules.ignore_value)
    values: NDArray[np.integer] = (on & ~ignored).astype(kind)
    values[ignored] = rules.ignore_value
    return values


def _cut(path: Path, threshold: float, why: str = "") -> Mask:
    """Return 1 where the brightest channel of a picture is at least ``threshold``."""
    image = read_image((path,))
    return Mask(
        (image.array.max(axis=0) >= threshold).astype(np.uint8),
        image.geometry,
        changes=(f"cut at {threshold:g}{why}",),
    )


def _cut_lossy(path: Path, name: str) -> Mask:
    grey = read_image((path,)).array.max(axis=0)
    between = float(np.mean((grey >= CUT // 2) & (grey < CUT * 3 // 2))) if grey.size else 0.0
    if between > MOST_BETWEEN:
        raise ReadError(
            f"{path} is a mask stored as {name}, whose lossy compression blurs label values, and "
            f"{between:.1%} of its pixels are neither black nor white; export the mask as PNG from "
            f"the tool that drew it, or cut it into two values with --binarize {CUT}."
        )
    cut = _cut(path, CUT, f" ({name})")
    return replace(cut, array=cut.array * np.uint8(WHITE))


def _by_colour(path: Path, rules: MaskRules) -> Mask:
    image = read_image((path,))
    channels = image.array if len(image.array) == 3 else np.repeat(image.array[:1], 3, axis=0)
    if channels.dtype != np.uint8:
        raise ReadError(
            f"{path} has values of {channels.dtype}, where --colours needs red, green and blue of "
            "8 bits; leave --colours out for masks of label values."
        )
    packed = (channels.astype(np.int32) << np.array([16, 8, 0]).reshape(3, 1, 1, 1)).sum(axis=0)
    wanted = {int(colour, 16): value for value, colour in enumerate(rules.colours, start=1)}
    values = np.zeros(packed.shape, np.uint8 if len(wanted) < 256 else np.uint16)
    for colour in map(int, np.unique(packed)):
        if colour in wanted:
            values[packed == colour] = wanted[colour]
        elif colour:
            raise ReadError(
                f"{path} has pixels of the colour {colour:06x}, which --colours "
                f"{','.join(rules.colours)} does not name; add it, or correct the mask."
            )
    palette: Palette = tuple(
        (value, (colour >> 16, colour >> 8 & 255, colour & 255)) for colour, value in wanted.items()
    )
    return Mask(values, image.geometry, palette=palette)


def _resized(mask: Mask, image: Image, source: Path | MaskSource) -> Mask:
    """Return a mask at its image's size, by nearest neighbours; other proportions are refused."""
    old, new = mask.array.shape, image.array.shape[1:]
    scales = [b / a for a, b in zip(old, new, strict=True)]
    off = max(abs(a - b) for a, b in zip(old, new, strict=True))
    if old[0] != new[0] or (
        off > PIXELS_OFF and max(scales[1:]) > (1 + MOST_DISTORTION) * min(scales[1:])
    ):
        raise ReadError(
            f"{source} has the shape (z, y, x) = {old} where its image has {new}, which are "
            "other proportions, so that --resize-masks would distort it; export the mask on its "
            "image's grid."
        )
    array = mask.array
    for axis, (a, b) in enumerate(zip(old, new, strict=True)):
        if a != b:
            nearest = np.minimum(((np.arange(b) + 0.5) * a / b).astype(np.intp), a - 1)
            array = array.take(nearest, axis=axis)
    change = "resized to the image's size"
    return replace(mask, array=array, geometry=image.geometry, changes=(*mask.changes, change))
