"""Find images of one set of cases that are copies of images of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from joblib import Parallel, delayed

from rareseg.data.case_files import read_case_image, readers_at_once
from rareseg.data.checks.case_checks import image_digest
from rareseg.data.look_alikes import ComparedCase, find_look_alikes, make_thumbnail
from rareseg.data.records import Case
from rareseg.progress import Track, silent


def copies_between(
    mine: Sequence[ComparedCase],
    theirs: Sequence[ComparedCase],
    *,
    jobs: int = -1,
    track: Track = silent,
) -> tuple[tuple[str, str], ...]:
    """Return pairs (id of mine, id of theirs) of images that show one thing, the most alike first.

    Copies may be brightened, shifted, turned or saved anew, as the audit finds them
    (:func:`rareseg.data.look_alikes.find_look_alikes`). Empty where either is empty.
    """
    if not mine or not theirs:
        return ()
    # Ids and groups of the two sets may be equal: each case is told apart by its number.
    both = [
        replace(case, id=f"{k}", group=case.group and f"{k < len(mine)} {case.group}")
        for k, case in enumerate((*mine, *theirs))
    ]
    found = []
    for pair in find_look_alikes(both, jobs=jobs, track=track):
        first, second = sorted((int(pair.a), int(pair.b)))
        if pair.copy and first < len(mine) <= second:
            found.append((mine[first].id, theirs[second - len(mine)].id))
    return tuple(found)


def compare_cases(
    cases: Sequence[Case], *, jobs: int = -1, track: Track = silent
) -> tuple[ComparedCase, ...]:
    """Return what copies are found by; every image is read once.

    Raises ReadError for an image that cannot be read.
    """
    at_once = readers_at_once(cases, jobs)
    parallel = Parallel(n_jobs=at_once, prefer="threads", return_as="generator")
    read = parallel(delayed(_compared)(case) for case in cases)
    return tuple(track(read, "looking for copies", len(cases)))


def _compared(case: Case) -> ComparedCase:
    image = read_case_image(case)
    return ComparedCase(case.id, case.group, image_digest(image.array), make_thumbnail(image))
