"""Find images of one set of cases that are copies of images of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from joblib import Parallel, delayed

from rareseg.data.checks.case_checks import image_digest
from rareseg.data.formats import read_case_image
from rareseg.data.look_alikes import ComparedCase, find_look_alikes, make_thumbnail
from rareseg.data.records import Case
from rareseg.progress import Track, silent


def copies_between(
    mine: Sequence[Case], theirs: Sequence[Case], *, jobs: int = -1, track: Track = silent
) -> tuple[tuple[str, str], ...]:
    """Return pairs (id of mine, id of theirs) of images that show one thing, the most alike first.

    Copies may be brightened, shifted, turned or saved anew, as the audit finds them
    (:func:`rareseg.data.look_alikes.find_look_alikes`). Every image is read once. Empty where
    either is empty. Raises ReadError for an image that cannot be read.
    """
    if not mine or not theirs:
        return ()
    both = [(case, "mine") for case in mine] + [(case, "theirs") for case in theirs]
    parallel = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")
    read = parallel(delayed(_compared)(case) for case, _ in both)
    seen = track(read, "looking for copies", len(both))
    # Ids of the two sets may be equal: each is told apart by its number.
    compared = [replace(case, id=f"{k}") for k, case in enumerate(seen)]
    found = []
    for pair in find_look_alikes(compared, jobs=jobs):
        (first, of_first), (second, of_second) = sorted(
            (both[int(pair.a)], both[int(pair.b)]), key=lambda one: one[1]
        )
        if pair.copy and of_first != of_second:
            found.append((first.id, second.id))
    return tuple(found)


def _compared(case: Case) -> ComparedCase:
    image = read_case_image(case)
    return ComparedCase(case.id, case.group, image_digest(image.array), make_thumbnail(image))
