"""Find cases of two data sets that share a group or an image."""

from __future__ import annotations

from collections.abc import Iterator

from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint


def shared_cases(mine: Fingerprint, theirs: Fingerprint) -> Iterator[tuple[CaseFacts, CaseFacts]]:
    """Yield pairs of cases that are of one group, or hold the same image."""

    def marks(case: CaseFacts) -> list[object]:
        image = ("image", case.thumbnail_hash, case.shape, case.intensities)
        return [image] if case.group is None else [image, ("group", case.group)]

    known: dict[object, list[CaseFacts]] = {}
    for case in mine.cases:
        for mark in marks(case):
            known.setdefault(mark, []).append(case)
    for case in theirs.cases:
        for mark in marks(case):
            for other in known.get(mark, ()):
                yield other, case
