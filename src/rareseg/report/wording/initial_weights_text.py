"""Describe a network's initial weights, and what a first stage left out."""

from __future__ import annotations

from rareseg.prediction.weights.weight_transfer import listed
from rareseg.prediction.weights.weights_origin import WeightsOrigin
from rareseg.report.wording.numbers import percent
from rareseg_runner.scoring.cascade_model import Cascade


def initial_weights_sentences(origin: WeightsOrigin | None) -> tuple[str, ...]:
    """Return what was taken over from earlier weights and what was not; nothing at random."""
    if origin is None:
        return ()
    lines = [
        f"begins with {len(origin.taken)} of its {origin.n_tensors} tensors from {origin.source}"
    ]
    if origin.unlike:
        shapes = [f"{name} ({shape})" for name, shape in origin.unlike.items()]
        lines.append(f"of another shape there, so begun anew: {listed(shapes)}")
    if origin.absent:
        lines.append(f"not there, so begun anew: {listed(origin.absent)}")
    if origin.unused:
        lines.append(f"there, but of no use here: {listed(origin.unused)}")
    return tuple(lines)


def stage_sentences(cascade: Cascade | None) -> tuple[str, ...]:
    """Return what the first stage leaves to the second, which is the ceiling of both."""
    if cascade is None:
        return ()
    return tuple(
        f"Stage one finds {percent(recall)} of the foreground voxels of the {role} cases in "
        f"{percent(cascade.kept[role])} of all; what it leaves out no later step can find."
        for role, recall in cascade.recalls.items()
    )
