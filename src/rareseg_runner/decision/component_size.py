"""Sizes of components with their unit, as recipes, options and points state them: "5 mm³"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, TypeAlias

from rareseg_runner.errors import UsageError

Unit = Literal["voxels", "pixels", "mm²", "mm³"]

_WRITTEN = re.compile(
    r"\s*(?P<amount>\d+(?:\.\d*)?|\.\d+)\s*(?:mm\^?(?P<power>[23²³])|(?P<count>voxel|pixel)s?)?\s*",
    re.ASCII,
)

_SLACK = 1e-6
"""Files round a spacing to float32: a component that is smaller by no more than this will do."""

_FITS: dict[Unit, tuple[str, str]] = {
    "mm³": ("are volumes", "a size in mm³, such as '5 mm3', or a number of voxels"),
    "mm²": ("are photographs", "a size in mm², such as '5 mm2', or a number of pixels"),
    "pixels": (
        "are photographs, not all of which state a spacing in millimetres",
        "a number of pixels",
    ),
    "voxels": (
        "have no spacing that is known",
        "a number of voxels, or score the cases again with their spacing",
    ),
}
"""What images are whose sizes are told in a unit, and which sizes fit them."""


@dataclass(frozen=True)
class Size:
    """A size that a component must reach: so many voxels or pixels, or so many mm³ or mm².

    0 has no unit: no component is too small. Counts are whole numbers. Raises UsageError for a
    size that does not exist.
    """

    amount: float = 0.0
    unit: Unit | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.amount < math.inf:
            raise UsageError(f"A smallest component of {self.amount:g} does not exist; give 0.")
        if self.amount == 0.0:
            object.__setattr__(self, "unit", None)
        elif not self.is_physical and self.amount != int(self.amount):
            raise UsageError(
                f"A smallest component of {self.amount:g} is no whole number of voxels; give one, "
                f"or a size such as '{self.amount:g} mm3'."
            )

    @property
    def is_physical(self) -> bool:
        """Whether it is told in millimetres."""
        return self.unit in ("mm²", "mm³")

    @property
    def removes(self) -> bool:
        """Whether any component could be smaller."""
        return self.amount > (0.0 if self.is_physical else 1.0)

    @property
    def number(self) -> str:
        """The amount in digits: "5", "0.5"."""
        return repr(float(self.amount)).removesuffix(".0")

    @property
    def plain(self) -> int | str:
        """The size as files keep it, which :func:`as_size` reads: voxels are a number alone."""
        return str(self) if self.unit not in (None, "voxels") else int(self.amount)

    def __str__(self) -> str:
        """Return "5 mm³", "1 voxel" or "0"."""
        if self.unit is None:
            return self.number
        one = self.amount == 1.0 and not self.is_physical
        return f"{self.number} {self.unit.removesuffix('s') if one else self.unit}"

    def voxels(self, spacing: Sequence[float]) -> int:
        """Return the fewest voxels of ``spacing`` (z, y, x, in mm) that are as large.

        Raises UsageError for mm² where the spacing is the 1.0 of a photograph that states none.
        """
        if not self.is_physical:
            return int(self.amount)
        z, y, x = spacing
        if self.unit == "mm²" and (y, x) == (1.0, 1.0):
            raise UsageError(
                f"A smallest component of {self} means nothing in an image without a spacing in "
                "millimetres; give images that state one, or tune with a number of pixels."
            )
        voxel = y * x if self.unit == "mm²" else z * y * x
        return math.ceil(self.amount / voxel * (1.0 - _SLACK))

    def fitting(self, unit: Unit) -> Size:
        """Return the size for images whose sizes are told in ``unit``; a plain count fits them all.

        Raises UsageError, with what fits, for mm² or pixels of volumes, mm³ of photographs, and
        millimetres where no spacing is known.
        """
        flat = unit in ("mm²", "pixels")
        if self.unit in (None, unit) or (self.unit == "pixels" and flat):
            return self
        if self.unit == "voxels":
            return replace(self, unit="pixels") if flat else self
        images, allowed = _FITS[unit]
        raise UsageError(
            f"A smallest component of {self} does not fit: the images {images}; give {allowed}."
        )


ANY_SIZE = Size()
"""No component is too small."""

SizeLike: TypeAlias = Size | str | float
"""A size as somebody says it: "5 mm³", "5 mm3", "20 pixels", or a plain number of voxels."""


def as_size(given: SizeLike) -> Size:
    """Return the size that is given. Raises UsageError for what is none."""
    if isinstance(given, Size):
        return given
    if isinstance(given, Real):
        return Size(float(given), "voxels")
    found = _WRITTEN.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise UsageError(
            f"A smallest component of {given!r} is no size; give a number of voxels from 0 up, or "
            "a size in millimetres, such as '5 mm3', or of photographs '5 mm2'."
        )
    unit: Unit = "pixels" if found["count"] == "pixel" else "voxels"
    if found["power"]:
        unit = "mm²" if found["power"] in "2²" else "mm³"
    return Size(float(found["amount"]), unit)


def as_sizes(given: Iterable[SizeLike]) -> tuple[Size, ...]:
    """Return sizes to choose from, which must ascend and share one unit; raises UsageError."""
    sizes = tuple(as_size(one) for one in given)
    amounts = [size.amount for size in sizes]
    if not sizes or sorted(set(amounts)) != amounts:
        shown = ", ".join(map(str, sizes)) or "none"
        raise UsageError(f"Smallest components must be one or more, ascending from 0; got {shown}.")
    if len({size.unit for size in sizes} - {None}) > 1:
        raise UsageError(
            f"Smallest components must share one unit; got {', '.join(map(str, sizes))}."
        )
    return sizes


def unit_of(spacings: Iterable[Sequence[float]], *, flat: bool) -> Unit:
    """Return the unit in which sizes are told in images of these spacings (z, y, x).

    mm³ of volumes; of photographs (``flat``) mm², or pixels where one states no spacing, which
    is then 1.0.
    """
    if not flat:
        return "mm³"
    return "mm²" if all(tuple(spacing[1:]) != (1.0, 1.0) for spacing in spacings) else "pixels"
