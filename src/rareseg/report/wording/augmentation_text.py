"""Describe in words what an augmentation did to one patch."""

from __future__ import annotations

import math

from rareseg.sampling.augmentation.augmentation_plan import AugmentationPlan
from rareseg.sampling.pasting.paster import Outcome


def describe_changes(plan: AugmentationPlan, patch: int, *, pasted: Outcome = "") -> str:
    """Return what a plan does to a patch, such as ``turned 9°, size 1.12, noise 0.1``.

    ``pasted`` is what came of pasting into it before.
    """
    words = [f"{pasted} pasted"] if pasted in ("object", "texture") else []
    axes = "zyx"[-len(plan.patch_size) :]
    mirrored = [axis for axis, flip in zip(axes, plan.mirror[patch], strict=True) if flip]
    if mirrored:
        words.append(f"mirrored {' '.join(mirrored)}")
    if plan.angles[patch].any():
        degrees = [round(math.degrees(float(angle))) for angle in plan.angles[patch]]
        words.append(f"turned {' '.join(f'{angle}°' for angle in degrees)}")
    if plan.scale[patch] != 1:
        words.append(f"size {float(plan.scale[patch]):.2f}")
    shift = [int(voxels) for voxels in plan.shift[patch]]
    if any(shift):
        words.append(f"moved {' '.join(map(str, shift))}")
    bent = float(plan.elastic[patch].abs().max())
    if bent:
        words.append(f"bent {bent:.1f}")
    words += [
        f"{name} {float(value):{form}}"
        for name, value, neutral, form in (
            ("gamma", plan.gamma[patch], 1.0, ".2f"),
            ("contrast", plan.contrast[patch], 1.0, ".2f"),
            ("brightness", plan.brightness[patch], 0.0, "+.2f"),
            ("blur", plan.blur[patch], 0.0, ".1f"),
            ("resolution", plan.resolution[patch], 1.0, ".0%"),
            ("noise", plan.noise[patch], 0.0, ".2f"),
        )
        if value != neutral
    ]
    if (plan.hidden[patch, :, 1] > plan.hidden[patch, :, 0]).all():
        words.append("a box hidden")
    return ", ".join(words) or "unchanged"
