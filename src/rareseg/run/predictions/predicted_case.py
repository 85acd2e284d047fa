"""Record of what was found in one image: a row a region and a row an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rareseg_runner.decision.detection import Detection
from rareseg_runner.decision.found_objects import FoundObject, find_objects
from rareseg_runner.geometry import CANONICAL
from rareseg_runner.image_records import Geometry

Side = tuple[int, int]
"""From and to, the end excluded."""


@dataclass(frozen=True)
class ObjectRow:
    """One object. ``box`` and ``centre`` are along x, y and z of the image's own file.

    Of a photograph x runs to the right and y downwards; of a volume they are the file's first,
    second and third axis. Pixel 0 reaches from 0 to 1.
    """

    number: int
    size: int
    box: tuple[Side, Side, Side]
    centre: tuple[float, float, float]
    top_score: float
    mean_score: float


@dataclass(frozen=True)
class RegionRow:
    """One region of an image; its objects by number."""

    top_score: float
    image_score: float
    objects: tuple[ObjectRow, ...]

    @property
    def flagged(self) -> bool:
        """Whether any object is left at the operating point."""
        return bool(self.objects)

    @property
    def size(self) -> int:
        """Pixels, or voxels, of all objects."""
        return sum(one.size for one in self.objects)

    @property
    def largest(self) -> ObjectRow | None:
        """The largest object; of several the first."""
        return max(self.objects, key=lambda one: (one.size, -one.number), default=None)


@dataclass(frozen=True)
class PredictedCase:
    """What was found in an image, region by region.

    ``image`` is the image's path within the folder that was predicted, and ``digest`` that of its
    files' bytes. ``dimension`` is 2 for photographs; ``spacing`` (z, y, x) in mm is None where the
    file states none. ``mask`` is the path of the label map, and, below the folder of a region, of
    that region's mask.
    """

    id: str
    image: str
    digest: str
    mask: str
    dimension: int
    spacing: tuple[float, float, float] | None
    regions: Mapping[str, RegionRow]

    @property
    def pixel_size(self) -> float | None:
        """The mm² of a pixel, or mm³ of a voxel; None where the spacing is not known."""
        if self.spacing is None:
            return None
        z, y, x = self.spacing
        return y * x if self.dimension == 2 else z * y * x

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PredictedCase:
        """Read what :meth:`to_dict` returned; KeyError, TypeError, ValueError for anything else."""
        regions = {
            name: RegionRow(
                **{**row, "objects": tuple(_object_from(one) for one in row["objects"])}
            )
            for name, row in content["regions"].items()
        }
        spacing = content["spacing"]
        return cls(
            **{**content, "regions": regions, "spacing": None if spacing is None else (*spacing,)}
        )


def _object_from(content: Mapping[str, Any]) -> ObjectRow:
    x, y, z = ((int(first), int(end)) for first, end in content["box"])
    return ObjectRow(**{**content, "box": (x, y, z), "centre": (*content["centre"],)})


def measure(found: Detection, *, case_id: str, image: str, digest: str, mask: str) -> PredictedCase:
    """Return the rows of an image."""
    geometry, volume = found.image.geometry, found.image.array.shape[1:]
    regions = {
        region: RegionRow(
            top_score=float(found.scores[region].max(initial=0.0)),
            image_score=found.image_scores[region],
            objects=tuple(
                _row(one, geometry, volume)
                for one in find_objects(
                    region, own.reshape(volume), found.scores[region].reshape(volume)
                )
            ),
        )
        for region, own in found.masks.items()
    }
    known = geometry.origin is not None or geometry.spacing != Geometry().spacing
    return PredictedCase(
        id=case_id,
        image=image,
        digest=digest,
        mask=mask,
        dimension=geometry.dimension,
        spacing=geometry.spacing if known else None,
        regions=regions,
    )


def _row(one: FoundObject, geometry: Geometry, shape: tuple[int, ...]) -> ObjectRow:
    """Return an object along the axes of its file."""
    sides, middles = [], []
    for letter in geometry.orientation or CANONICAL:
        axis = next(k for k, pair in enumerate(("SI", "PA", "LR")) if letter in pair)
        (first, end), middle, length = one.box[axis], one.centre[axis], shape[axis]
        against = letter not in CANONICAL
        sides.append((length - end, length - first) if against else (first, end))
        middles.append(length - middle if against else middle)
    return ObjectRow(
        number=one.number,
        size=one.voxels,
        box=(sides[0], sides[1], sides[2]),
        centre=(middles[0], middles[1], middles[2]),
        top_score=one.top_score,
        mean_score=one.mean_score,
    )
