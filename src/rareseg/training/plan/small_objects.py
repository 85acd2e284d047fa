"""Count the objects that are smaller than a voxel of the grid on which they would be learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.training.plan.plan_grid import plan_dimension, plan_grid
from rareseg.training.plan.plan_network import plan_network
from rareseg.training.plan.recipe_draft import Draft, resampled


@dataclass(frozen=True)
class SmallObjects:
    """Objects smaller than a target voxel, in how many cases, and the first of those."""

    n_objects: int
    n_cases: int
    example: str


def count_small_objects(fingerprint: Fingerprint, draft: Draft) -> SmallObjects:
    """Count over all cases; 0 where nothing is resampled. The draft has its grid already."""
    found = [(case, _smaller(case, draft)) for case in fingerprint.cases]
    touched = [(case.id, count) for case, count in found if count]
    return SmallObjects(
        sum(count for _, count in touched), len(touched), touched[0][0] if touched else ""
    )


def small_objects_sentence(fingerprint: Fingerprint, draft: Draft | None = None) -> str | None:
    """Say how many objects a planned grid would leave less than a voxel; None where none."""
    if draft is None:
        draft = Draft({})
        plan_network(draft, plan_dimension(draft, fingerprint))
        plan_grid(draft, fingerprint)
    found = count_small_objects(fingerprint, draft)
    if not found.n_objects:
        return None
    noun = "object is" if found.n_objects == 1 else "objects are"
    cases = "case" if found.n_cases == 1 else "cases"
    spacing = " x ".join(f"{value:.3g}" for value in draft.values["data"]["target_spacing"])
    return (
        f"{found.n_objects} {noun} smaller than a voxel at the planned spacing of {spacing} mm "
        f"(z, y, x), in {found.n_cases} {cases} such as '{found.example}'; each keeps one voxel, "
        "so that none vanishes from the labels. A finer grid: --set data.target_spacing=..."
    )


def _smaller(case: CaseFacts, draft: Draft) -> int:
    ratio = math.prod(case.shape) / math.prod(resampled(case, draft))
    return sum(count for size, count in enumerate(case.small_objects, start=1) if size < ratio)
