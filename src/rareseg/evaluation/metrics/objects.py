"""Find the objects of a mask (its connected components), and which of them a prediction touches.

Components are 8-connected in 2D and 26-connected in 3D. A reference object is found where at
least one of its voxels is predicted; a predicted component is a false positive where it touches
no reference voxel (autoPET III's definition of false-positive volume counts exactly these).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import ScoreError
from rareseg.evaluation.tables.case_arrays import require_informative_mask
from rareseg_runner.components import component_sizes, label_components
from rareseg_runner.image_records import IGNORE


@dataclass(frozen=True)
class ObjectMatch:
    """The objects of one case and what became of them, sizes in voxels.

    ``sizes[i]`` and ``overlaps[i]`` are the voxels of reference object i and how many of them are
    predicted. ``predicted_sizes`` are the predicted components' sizes, ignored voxels not counted,
    and ``predicted_overlaps`` how many of their voxels lie in the reference.
    """

    sizes: tuple[int, ...]
    overlaps: tuple[int, ...]
    predicted_sizes: tuple[int, ...]
    predicted_overlaps: tuple[int, ...]

    @property
    def found(self) -> tuple[bool, ...]:
        """Whether each reference object is touched by the prediction."""
        return tuple(overlap > 0 for overlap in self.overlaps)

    @property
    def n_found(self) -> int:
        """The number of reference objects that are touched."""
        return sum(self.found)

    @property
    def false_positive_sizes(self) -> tuple[int, ...]:
        """The sizes of the predicted components that touch no reference voxel."""
        pairs = zip(self.predicted_sizes, self.predicted_overlaps, strict=True)
        return tuple(size for size, overlap in pairs if overlap == 0)


def match_objects(
    reference: NDArray[np.bool_] | NDArray[np.uint8],
    prediction: NDArray[np.bool_],
    *,
    ignores: bool = False,
) -> ObjectMatch:
    """Return the components of both masks and their overlaps.

    Both are (Z, Y, X) or (Y, X) of one shape; the reference is bool, or uint8 with 0, 1 and
    IGNORE. Components are those of the masks as they are; afterwards ignored voxels count nowhere,
    and a predicted component of ignored voxels alone is none. Empty masks give empty tuples.
    Raises ScoreError where shapes differ, or the reference holds 0 and 255 alone, unless
    ``ignores`` says that 255 leaves voxels out.
    """
    require_informative_mask(reference, "A mask", ignores=ignores)
    if prediction.shape != reference.shape:
        raise ScoreError(
            f"The prediction has shape {prediction.shape} and the reference has shape "
            f"{reference.shape}; both must be on the case's original grid."
        )
    present = reference == 1
    objects, n_objects = label_components(present)
    predicted, n_predicted = label_components(prediction)
    # Everything is counted on the voxels that are on, which are few.
    shown = np.flatnonzero(prediction)
    labels = np.ravel(reference)[shown]
    inside, counted = shown[labels == 1], shown[labels != IGNORE]
    of_object, of_component = np.ravel(objects), np.ravel(predicted)
    predicted_sizes = component_sizes(of_component[counted], n_predicted)
    exists = predicted_sizes > 0
    return ObjectMatch(
        sizes=_tuple(component_sizes(of_object[np.flatnonzero(present)], n_objects)),
        overlaps=_tuple(component_sizes(of_object[inside], n_objects)),
        predicted_sizes=_tuple(predicted_sizes[exists]),
        predicted_overlaps=_tuple(component_sizes(of_component[inside], n_predicted)[exists]),
    )


def _tuple(numbers: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(number) for number in numbers)
