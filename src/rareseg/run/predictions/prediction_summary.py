"""Say what a call of predict found, and which images could not be predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rareseg.report.wording.numbers import count
from rareseg.run.predictions.predicted_case import PredictedCase

MOST_FAILURES = 20
"""Kinds of failures that are printed; the record for machines has all."""


@dataclass(frozen=True)
class Failure:
    """An image that could not be predicted, or not be written in a format, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class PredictionSummary:
    """What a call of predict did.

    ``label_maps`` are those of all images that were predicted, now or by an earlier call;
    ``cases`` the same images' rows. ``remarks`` say what was passed over or converted, ``written``
    what lies there besides masks.
    """

    out: Path
    regions: tuple[str, ...]
    label_maps: tuple[Path, ...]
    cases: tuple[PredictedCase, ...]
    failures: tuple[Failure, ...] = ()
    remarks: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()

    def lines(self) -> list[str]:
        """Return the answer in words: what was found by region, what was left out, where it is."""
        said = [
            f"{region}: {row['flagged']} of {count(len(self.cases), 'image')} flagged, "
            f"{count(row['objects'], 'object')}."
            for region, row in self.counts().items()
        ]
        said += self.remarks
        said.append(
            f"{count(len(self.cases), 'label map')} in {self.out}, one mask per region in the "
            "folders below it; predictions.csv and objects.csv say what was found."
        )
        said += [f"Written: {path}" for path in self.written]
        return said

    def failure_lines(self) -> list[str]:
        """Return one line for each kind of failure, with how many images and two examples.

        The last line counts them; of one kind alone it tells it too.
        """
        if not self.failures:
            return []
        kinds: dict[str, list[Failure]] = {}
        for failure in self.failures:
            kinds.setdefault(failure.reason.replace(failure.image, "…"), []).append(failure)
        common = Counter({kind: len(own) for kind, own in kinds.items()}).most_common(MOST_FAILURES)
        said = []
        for kind, n in common:
            own = kinds[kind]
            if n == 1:
                named = own[0].image in own[0].reason
                said.append(own[0].reason if named else f"{own[0].image}: {own[0].reason}")
            else:
                examples = ", ".join(failure.image for failure in own[:2])
                said.append(f"{count(n, 'image')} ({examples}{', …' if n > 2 else ''}): {kind}")
        if len(kinds) > MOST_FAILURES:
            said.append(f"and {len(kinds) - MOST_FAILURES} more kinds; --json lists all")
        bad = count(len({failure.image for failure in self.failures}), "image")
        good = count(len(self.cases), "image")
        last = f"{bad} could not be finished; {good} predicted."
        return [f"{said[0].rstrip('.')}. {last}"] if len(said) == 1 else [*said, last]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return by region how many images are flagged, of how many, and the objects in them."""
        return {
            region: {
                "flagged": sum(case.regions[region].flagged for case in self.cases),
                "images": len(self.cases),
                "objects": sum(len(case.regions[region].objects) for case in self.cases),
            }
            for region in self.regions
        }

    def record(self) -> Mapping[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "label_maps": [str(path) for path in self.label_maps],
            "regions": self.counts(),
            "failures": [vars(failure) for failure in self.failures],
            "remarks": list(self.remarks),
            "written": [str(path) for path in self.written],
        }


def unlike_remarks(notes: Sequence[str], total: int) -> list[str]:
    """Return one line for each way in which images are unlike those that the model learned from."""
    return [f"{n} of {count(total, 'image')}: {note}." for note, n in Counter(notes).most_common()]


def converted_remarks(notes: Sequence[str], total: int) -> list[str]:
    """Return one line for each way in which images were converted."""
    return [
        f"{n} of {count(total, 'image')} {'was' if n == 1 else 'were'} {note}, as the model needs."
        for note, n in Counter(notes).most_common()
    ]
