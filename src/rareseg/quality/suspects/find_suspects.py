"""Find suspect labels from component evidence: missed, spurious, moved, misnamed.

A score is a product of two numbers in [0, 1]: how sure the network is, in units of its usual
sureness, and how often such a verdict is right elsewhere in the same set. Neither grows with the
component or with the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from rareseg.quality.suspects.place import MOST, SEEN, ComponentEvidence
from rareseg.quality.suspects.suspect import Kind, Suspect
from rareseg.quality.suspects.usual_scores import (
    FEW,
    OtherComponents,
    Units,
    measure_units,
    spread_of_similar,
)
from rareseg_runner.image_records import Classes

LEAST_SCORE = 0.05
"""What scores less is not listed."""

LEAST_MOVED = 0.15
"""An outline that less of its band speaks against is not suspected."""

LEAST_SPREAD = 0.05
"""Outlines are taken to differ by at least so much as a matter of course."""


def judge(
    all_evidence: Sequence[ComponentEvidence], classes: Classes, *, ensemble: str | None = None
) -> tuple[Suspect, ...]:
    """Return the suspects among the components of all cases, the most suspicious first.

    ``ensemble`` is the scorer, if any, that is all networks together; what it scored says so. Of
    regions within each other the outermost is named where the same place is suspected of the same
    in several. No evidence, or labels that the model agrees with, give none.
    """
    found: list[tuple[ComponentEvidence, Suspect]] = []
    for region in classes.regions:
        own = [s for s in all_evidence if s.region == region and s.side != "named"]
        found += _Region(own).suspects()
    for pair in permutations(classes.names[1:], 2):
        found += _misnamed([s for s in all_evidence if (s.other, s.says) == pair])
    kept = unexplained([pair for pair in found if pair[1].score >= LEAST_SCORE], classes)
    told = [
        replace(suspect, reason=_complete(suspect.reason, evidence, ensemble))
        for evidence, suspect in kept
    ]
    return tuple(sorted(told, key=lambda suspect: (-suspect.score, suspect.id)))


def suspect_id(evidence: ComponentEvidence, kind: Kind) -> str:
    """Return 12 hexadecimal digits that the same place, region and kind always have."""
    # As earlier versions called it, so that what was said of a suspect stays with it.
    written = "missed lesion" if kind == "missed object" else kind
    place = (evidence.side, evidence.place, evidence.box)
    about = (evidence.case_id, evidence.region, written, *place)
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


def sure(times: float) -> float:
    """Return 1 − e^(−2·times) in [0, 1): 0.86 where a network is as sure as it usually is."""
    return float(-np.expm1(-2.0 * max(0.0, times)))


class _Region:
    """The components of one region in all cases."""

    def __init__(self, all_evidence: Sequence[ComponentEvidence]) -> None:
        self.drawn = [s for s in all_evidence if s.side == "drawn"]
        # What lies on another class is no false alarm either: it is judged by its name.
        self.predicted = [
            s for s in all_evidence if s.side == "predicted" and (s.met >= SEEN or s.other is None)
        ]
        self.units = {
            scorer: measure_units([s for s in self.drawn if s.scorer == scorer], self.drawn)
            for scorer in {evidence.scorer for evidence in all_evidence}
        }
        sizes = np.array([evidence.voxels for evidence in self.drawn], np.int64)
        nothing = np.zeros(len(sizes))
        self.seen = OtherComponents(
            sizes, _flags(s.met >= SEEN or bool(s.other) for s in self.drawn), nothing
        )
        self.hits = OtherComponents(
            np.array([evidence.voxels for evidence in self.predicted], np.int64),
            _flags(s.met >= SEEN for s in self.predicted),
            np.array([s.odds / self._unit(s).present for s in self.predicted], np.float64),
        )

    def _unit(self, evidence: ComponentEvidence) -> Units:
        return self.units[evidence.scorer]

    def suspects(self) -> Iterator[tuple[ComponentEvidence, Suspect]]:
        """Yield what is suspected, with its evidence."""
        for index, evidence in enumerate(self.drawn):
            # What is seen as another class is not unseen, and is judged by its name.
            if evidence.met < SEEN and evidence.other is None:
                yield self._spurious(index)
        yield from self._moved()
        for index, evidence in enumerate(self.predicted):
            if evidence.met < SEEN:
                yield self._missed(index)

    def _spurious(self, index: int) -> tuple[ComponentEvidence, Suspect]:
        it = self.drawn[index]
        share = self.seen.share(index)
        score = share * sure(-it.odds / self._unit(it).absent)
        reason = (
            f"'{it.region}' is drawn here, but the model gives it {_show(it.score)} (cut at "
            f"{_show(it.cut)}), and sees {_percent(share)} of the other drawn ones of about this "
            "size"
        )
        return it, _suspect(it, "spurious label", score, reason)

    def _missed(self, index: int) -> tuple[ComponentEvidence, Suspect]:
        it = self.predicted[index]
        share = self.hits.share(index, as_sure=True)
        score = share * sure(it.odds / self._unit(it).present)
        drawn = f"Only {_percent(it.met)} of this is drawn" if it.met else "Nothing is drawn here"
        reason = (
            f"{drawn}, but the model gives '{it.region}' {_show(it.score)} (cut at "
            f"{_show(it.cut)}); where it is as sure of about this size, {_percent(share)} of the "
            "places are drawn"
        )
        return it, _suspect(it, "missed object", score, reason)

    def _moved(self) -> Iterator[tuple[ComponentEvidence, Suspect]]:
        """Yield outlines that are moved much further than others of the network usually are."""
        seen = [evidence for evidence in self.drawn if evidence.other is None]
        for it, moved, usual, score in _beyond_usual(seen):
            kind: Kind = "wrong class" if it.among >= MOST else "wrong boundary"
            about = ", mostly about what is drawn as another class" if it.among >= MOST else ""
            reason = (
                f"The model's outline of '{it.region}' lies {_percent(moved)} of a band of "
                f"±{it.reach:.2g} voxels beside the drawn one{about}"
            )
            if usual is not None:
                reason += f"; {_percent(usual)} is usual for about this size"
            yield it, _suspect(it, kind, score, reason)


def _misnamed(places: Sequence[ComponentEvidence]) -> Iterator[tuple[ComponentEvidence, Suspect]]:
    """Yield where much more of a class is called another than usually is; of two classes."""
    for it, moved, usual, score in _beyond_usual(places):
        if it.met:
            continue
        reason = (
            f"'{it.other}' is drawn here, but the model calls it '{it.says}' "
            f"({_percent(it.score)} of what it gives to all foreground); "
            f"{_percent(moved)} of the '{it.other}' of this object speaks for '{it.says}'"
        )
        if usual is not None:
            reason += f", where {_percent(usual)} is usual"
        yield it, _suspect(it, "wrong class", score, reason)


def _beyond_usual(
    all_evidence: Sequence[ComponentEvidence],
) -> Iterator[tuple[ComponentEvidence, float, float | None, float]]:
    """Yield those moved clearly, with how far, what is usual for the size (or None) and a score.

    The score is 1 − e^(−(t − 1)/3), where t is how many spreads the share lies beyond the median of
    those of the same network (of all, where it has no more than :data:`FEW`) and of similar
    breadth; 0 up to t = 1.
    """
    pairs = [(s, s.moved) for s in all_evidence if s.moved is not None]
    for scorer in sorted({evidence.scorer for evidence, _ in pairs}):
        own = [pair for pair in pairs if pair[0].scorer == scorer]
        asked = own if len(own) > FEW else own + [p for p in pairs if p[0].scorer != scorer]
        shares = np.array([moved for _, moved in asked], np.float64)
        sizes = np.array([s.breadth for s, _ in asked], np.int64)
        for index, (it, moved) in enumerate(own):
            if moved < LEAST_MOVED:
                continue
            usual, spread = spread_of_similar(shares, sizes, index)
            known = bool(np.isfinite(usual))
            beyond = moved - (usual if known else LEAST_MOVED)
            times = beyond / max(LEAST_SPREAD, spread if known else 0.0)
            score = float(-np.expm1(-max(0.0, times - 1.0) / 3.0))
            yield it, moved, usual if known else None, score


def _flags(values: Iterator[bool]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([float(value) for value in values], np.float64)


def _suspect(it: ComponentEvidence, kind: Kind, score: float, reason: str) -> Suspect:
    return Suspect(
        id=suspect_id(it, kind),
        case_id=it.case_id,
        group=it.group,
        region=it.region,
        kind=kind,
        score=score,
        box=it.box,
        voxels=it.voxels,
        plane=it.plane,
        reason=reason,
        aside=it.aside,
    )


def _complete(reason: str, it: ComponentEvidence, ensemble: str | None) -> str:
    """Return the sentence with what annotators drew and who scored the case."""
    if it.drawn_by is not None:
        drew, looked = it.drawn_by
        reason += f"; {drew} of {looked} annotators drew it"
    if it.scorer == ensemble:
        reason += " (a held-out case, scored by all networks together)"
    return reason + "."


def unexplained(
    found: Sequence[tuple[ComponentEvidence, Suspect]], classes: Classes
) -> list[tuple[ComponentEvidence, Suspect]]:
    """Leave out what another suspect of the same case explains.

    An object that is missed, spurious or misplaced is so in every region within as well, and parts
    of a misplaced one lie on other parts. So what is suspected in a region within another one
    leaves where the outer is suspected there of the same, or of a wrong boundary, unless that is
    less than half as suspicious; and of several wrong classes, or a wrong boundary and a wrong
    class, at one place of one region the most suspicious stays.
    """
    by_case: dict[str, list[Suspect]] = {}
    for _, suspect in found:
        by_case.setdefault(suspect.case_id, []).append(suspect)
    return [
        (evidence, suspect)
        for evidence, suspect in found
        if not any(_explains(other, suspect, classes) for other in by_case[suspect.case_id])
    ]


def _explains(other: Suspect, it: Suspect, classes: Classes) -> bool:
    own, theirs = set(classes.regions[it.region]), set(classes.regions[other.region])
    if own < theirs and other.score >= 0.5 * it.score:
        shared = _shared(other, it)
        moved = other.kind == "wrong boundary" and shared > 0.0
        return moved or (other.kind == it.kind and shared >= MOST)
    kinds = {it.kind, other.kind}
    about_class = "wrong class" in kinds and kinds <= {"wrong boundary", "wrong class"}
    if other is not it and about_class and own & theirs:
        return (other.score, other.id) > (it.score, it.id) and _shared(other, it) >= MOST
    return False


def _shared(first: Suspect, second: Suspect) -> float:
    """Return the share of the smaller of two boxes that lies in the other."""
    common = own = other = 1
    for (low, high), (start, end) in zip(first.box, second.box, strict=True):
        common *= max(0, min(high, end) - max(low, start))
        own, other = own * (high - low), other * (end - start)
    return common / min(own, other)


def _show(score: float) -> str:
    return f"{score:.2f}" if 0.01 <= score <= 0.99 else f"{score:.3g}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"
