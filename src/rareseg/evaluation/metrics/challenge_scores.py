"""Compute object scores as BraTS 2023 and autoPET III define them.

Both differ from :mod:`rareseg.evaluation.metrics.objects` in what they call one object, and are
re-derived from the challenges' published scorers. Ignored voxels are taken out of both masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.errors import ScoreError
from rareseg.evaluation.statistics.undefined import Undefined, Value, ratio
from rareseg.evaluation.tables.case_arrays import require_informative_mask
from rareseg.evaluation.tables.region_rows import Spacing
from rareseg_runner.components import bounding_box, component_sizes, label_components
from rareseg_runner.image_records import IGNORE

Mask = NDArray[np.bool_]
BratsTask = Literal["glioma", "meningioma", "metastases"]

BRATS_TASKS: dict[BratsTask, tuple[int, float]] = {
    "glioma": (3, 50.0),
    "meningioma": (1, 50.0),
    "metastases": (1, 2.0),
}
"""Per task how many dilations merge reference components, and the volume in mm³ that an object
must exceed to count."""


@dataclass(frozen=True)
class BratsLesions:
    """The objects of one case by BraTS 2023.

    ``volumes_mm3`` and ``dices`` belong to the reference objects after merging, of any size;
    ``n_false_positives`` are the predicted components that come near none of them.
    """

    volumes_mm3: tuple[float, ...]
    dices: tuple[float, ...]
    n_false_positives: int
    smallest_mm3: float

    @property
    def n_counted(self) -> int:
        """The number of objects that are large enough to count."""
        return sum(volume > self.smallest_mm3 for volume in self.volumes_mm3)

    @property
    def dice(self) -> Value:
        """Σ dice over counted objects / (their number + that of false positives), in [0, 1].

        Undefined where both numbers are 0; the challenge's own scorer writes 1 there.
        """
        pairs = zip(self.volumes_mm3, self.dices, strict=True)
        return ratio(
            sum(dice for volume, dice in pairs if volume > self.smallest_mm3),
            self.n_counted + self.n_false_positives,
            undefined="no object is large enough to count, and nothing false is predicted",
        )


@dataclass(frozen=True)
class AutopetVolumes:
    """What one case has too much and too little by autoPET III, in millilitres."""

    false_positive_ml: float
    false_negative_ml: Value


def brats_lesions(
    prediction: Mask,
    reference: Mask | NDArray[np.uint8],
    *,
    spacing: Spacing = (1.0, 1.0, 1.0),
    task: BratsTask = "glioma",
    ignores: bool = False,
) -> BratsLesions:
    """Return the lesion-wise scores of BraTS 2023 (github.com/rachitsaluja/BraTS-2023-Metrics).

    The reference is dilated by the 18-neighbourhood as often as the task says; reference voxels
    that one 26-connected component of the dilated mask holds are one object. A predicted
    26-connected component belongs to every object whose dilation it touches, and an object's dice
    is ``2·|P∩L| / (|P|+|L|)`` with P all components that belong to it. A component that touches no
    dilation is a false positive, whatever its size; an object of ``smallest_mm3`` or less counts
    nowhere, but what touches it is no false positive. Empty masks give no object. Raises
    ScoreError where shapes differ, or the reference holds 0 and 255 alone, unless ``ignores`` says
    that 255 leaves voxels out.
    """
    iterations, smallest_mm3 = BRATS_TASKS[task]
    predicted, present = _masks(prediction, reference, margin=iterations, ignores=ignores)
    structure = ndimage.generate_binary_structure(3, 2)
    dilated = ndimage.binary_dilation(present, structure, iterations) if present.size else present
    near, n_objects = label_components(dilated)
    components, n_components = label_components(predicted)
    objects = np.where(present, near, 0)
    sizes = component_sizes(objects, n_objects)
    overlaps = component_sizes(np.where(predicted, objects, 0), n_objects)
    keys = near[predicted].astype(np.int64) * (n_components + 1) + components[predicted]
    touched, component = np.divmod(np.unique(keys), n_components + 1)
    touching = touched > 0
    predicted_sizes = component_sizes(components, n_components)
    of_object = np.bincount(
        touched[touching] - 1, predicted_sizes[component[touching] - 1], minlength=n_objects
    )
    voxel = float(np.prod(spacing))
    return BratsLesions(
        volumes_mm3=tuple(float(size) * voxel for size in sizes),
        dices=tuple(float(dice) for dice in 2.0 * overlaps / np.maximum(of_object + sizes, 1)),
        n_false_positives=n_components - len(np.unique(component[touching])),
        smallest_mm3=smallest_mm3,
    )


def autopet_volumes(
    prediction: Mask,
    reference: Mask | NDArray[np.uint8],
    *,
    spacing: Spacing = (1.0, 1.0, 1.0),
    ignores: bool = False,
) -> AutopetVolumes:
    """Return the false-positive and false-negative volumes of autoPET III (val_script.py there).

    Components are 18-connected. The false-positive volume is that of all predicted components that
    hold no voxel of the reference, the false-negative volume that of all reference components that
    hold no predicted voxel; the latter is undefined without an object, since the challenge judges
    such cases by false positives alone. Raises ScoreError as :func:`brats_lesions` does.
    """
    predicted, present = _masks(prediction, reference, margin=0, ignores=ignores)
    both = predicted & present
    millilitres = float(np.prod(spacing)) / 1000.0
    return AutopetVolumes(
        false_positive_ml=_untouched(predicted, both) * millilitres,
        false_negative_ml=_untouched(present, both) * millilitres
        if present.any()
        else Undefined("no object"),
    )


def _untouched(mask: Mask, both: Mask) -> int:
    """Return how many voxels lie in components of a mask that hold no voxel of ``both``."""
    labels, count = label_components(mask, connectivity=18)
    sizes = component_sizes(labels, count)
    touched = component_sizes(labels[both], count) > 0
    return int(sizes[~touched].sum())


def _masks(
    prediction: Mask, reference: Mask | NDArray[np.uint8], *, margin: int, ignores: bool
) -> tuple[Mask, Mask]:
    """Return both masks in 3D, without ignored voxels, in the box that holds them and a margin."""
    require_informative_mask(reference, "A mask", ignores=ignores)
    if prediction.shape != reference.shape:
        raise ScoreError(
            f"The prediction has shape {prediction.shape} and the reference has shape "
            f"{reference.shape}; both must be on the case's original grid."
        )
    if prediction.ndim == 2:
        prediction, reference = prediction[np.newaxis], reference[np.newaxis]
    present, predicted = reference == 1, prediction
    if reference.dtype != np.bool_:
        predicted = prediction & (reference != IGNORE)
    box = bounding_box(present | predicted)
    if box is None:
        nothing = np.zeros((0, 0, 0), np.bool_)
        return nothing, nothing
    grown = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)
    return predicted[grown], present[grown]
