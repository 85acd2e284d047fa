"""From sightings to suspects: which places of the labels deserve a second look, and why.

A score is a product of two numbers in [0, 1]: how sure the network is, in units of its usual
sureness, and how often such a verdict is right elsewhere in the same set. Neither grows with the
component or with the image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rareseg.data.records import Classes
from rareseg.quality.sightings import SEEN, Sighting
from rareseg.quality.suspect import Kind, Suspect
from rareseg.quality.usual import Others, Units, measure_units, spread_of_similar

LEAST_SCORE = 0.05
"""What scores less is not listed."""

LEAST_MOVED = 0.15
"""An outline that less of its band speaks against is not suspected."""

LEAST_SPREAD = 0.05
"""Outlines are taken to differ by at least so much as a matter of course."""


def judge(
    sightings: Sequence[Sighting], classes: Classes, *, ensemble: str | None = None
) -> tuple[Suspect, ...]:
    """Return the suspects among the components of all cases, the most suspicious first.

    ``ensemble`` is the scorer, if any, that is all networks together; what it scored says so. Of
    regions within each other the outermost is named where the same place is suspected of the same
    in several. No sightings, or labels that the model agrees with, give none.
    """
    found: list[tuple[Sighting, Suspect]] = []
    for region in classes.regions:
        own = [sighting for sighting in sightings if sighting.region == region]
        found += _Region(own).suspects()
    kept = _outermost([pair for pair in found if pair[1].score >= LEAST_SCORE], classes)
    told = [
        replace(suspect, reason=_complete(suspect.reason, sighting, ensemble))
        for sighting, suspect in kept
    ]
    return tuple(sorted(told, key=lambda suspect: (-suspect.score, suspect.id)))


def suspect_id(sighting: Sighting, kind: Kind) -> str:
    """Return 12 hexadecimal digits that the same place, region and kind always have."""
    about = (sighting.case_id, sighting.region, kind, sighting.side, sighting.place, sighting.box)
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


def sure(times: float) -> float:
    """Return 1 − e^(−2·times) in [0, 1): 0.86 where a network is as sure as it usually is."""
    return float(-np.expm1(-2.0 * max(0.0, times)))


class _Region:
    """The components of one region in all cases."""

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        self.drawn = [sighting for sighting in sightings if sighting.side == "drawn"]
        self.predicted = [sighting for sighting in sightings if sighting.side == "predicted"]
        self.units = {
            scorer: measure_units([s for s in self.drawn if s.scorer == scorer], self.drawn)
            for scorer in {sighting.scorer for sighting in sightings}
        }
        sizes = np.array([sighting.voxels for sighting in self.drawn], np.int64)
        nothing = np.zeros(len(sizes))
        self.seen = Others(sizes, _flags(s.met >= SEEN for s in self.drawn), nothing)
        self.named = Others(sizes, _flags(s.other is None for s in self.drawn), nothing)
        self.hits = Others(
            np.array([sighting.voxels for sighting in self.predicted], np.int64),
            _flags(s.met >= SEEN for s in self.predicted),
            np.array([s.odds / self._unit(s).present for s in self.predicted], np.float64),
        )

    def _unit(self, sighting: Sighting) -> Units:
        return self.units[sighting.scorer]

    def suspects(self) -> Iterator[tuple[Sighting, Suspect]]:
        """Yield what is suspected, with its sighting."""
        for index, sighting in enumerate(self.drawn):
            if sighting.other is not None:
                yield self._misnamed(index)
            elif sighting.met < SEEN:
                yield self._spurious(index)
        yield from self._moved()
        for index, sighting in enumerate(self.predicted):
            if sighting.met < SEEN:
                yield self._missed(index)

    def _spurious(self, index: int) -> tuple[Sighting, Suspect]:
        it = self.drawn[index]
        share = self.seen.share(index)
        score = share * sure(-it.odds / self._unit(it).absent)
        reason = (
            f"'{it.region}' is drawn here, but the model gives it {_show(it.score)} (cut at "
            f"{_show(it.cut)}), and sees {_percent(share)} of the other drawn ones of about this "
            "size"
        )
        return it, _suspect(it, "spurious label", score, reason)

    def _missed(self, index: int) -> tuple[Sighting, Suspect]:
        it = self.predicted[index]
        share = self.hits.share(index, as_sure=True)
        about = f"where it is as sure of about this size, {_percent(share)} of the places are drawn"
        if it.other is not None:
            assert it.against is not None, "only where there are other classes can one be drawn"
            score = share * sure(it.against / self._unit(it).named)
            reason = (
                f"'{it.other}' is drawn here, but the model says '{it.region}' ({_show(it.score)}, "
                f"cut at {_show(it.cut)}); {about}"
            )
            return it, _suspect(it, "wrong class", score, reason)
        score = share * sure(it.odds / self._unit(it).present)
        drawn = f"only {_percent(it.met)} of this is drawn" if it.met else "Nothing is drawn here"
        reason = (
            f"{drawn}, but the model gives '{it.region}' {_show(it.score)} (cut at "
            f"{_show(it.cut)}); {about}"
        )
        return it, _suspect(it, "missed lesion", score, reason[0].upper() + reason[1:])

    def _misnamed(self, index: int) -> tuple[Sighting, Suspect]:
        it = self.drawn[index]
        assert it.against is not None, "another class is named only where there is one"
        share = self.named.share(index)
        score = share * sure(it.against / self._unit(it).named)
        times = float(np.exp(min(it.against, 20.0)))
        reason = (
            f"'{it.region}' is drawn here, but the model says '{it.other}', to which it gives "
            f"{times:.3g} times as much; it agrees on {_percent(share)} of the other drawn ones "
            "of about this size"
        )
        return it, _suspect(it, "wrong class", score, reason)

    def _moved(self) -> Iterator[tuple[Sighting, Suspect]]:
        """Yield outlines that are moved much further than others of the network usually are."""
        for scorer in sorted(self.units):
            seen = [s for s in self.drawn if s.scorer == scorer and s.other is None]
            pairs = [(s, s.moved) for s in seen if s.moved is not None]
            shares = np.array([moved for _, moved in pairs], np.float64)
            sizes = np.array([s.voxels for s, _ in pairs], np.int64)
            for index, (it, moved) in enumerate(pairs):
                if moved < LEAST_MOVED:
                    continue
                usual, spread = spread_of_similar(shares, sizes, index)
                known = np.isfinite(usual)
                beyond = moved - (usual if known else LEAST_MOVED)
                times = beyond / max(LEAST_SPREAD, spread if known else 0.0)
                score = float(-np.expm1(-max(0.0, times - 1.0) / 3.0))
                reason = (
                    f"The model's outline of '{it.region}' lies {_percent(moved)} of a band of "
                    f"±{it.reach_mm:.3g} mm beside the drawn one"
                )
                if known:
                    reason += f", where {_percent(usual)} is usual for about this size"
                yield it, _suspect(it, "wrong boundary", score, reason)


def _flags(values: Iterator[bool]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([float(value) for value in values], np.float64)


def _suspect(it: Sighting, kind: Kind, score: float, reason: str) -> Suspect:
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


def _complete(reason: str, it: Sighting, ensemble: str | None) -> str:
    """Return the sentence with what annotators drew and who scored the case."""
    if it.drawn_by is not None:
        drew, looked = it.drawn_by
        reason += f"; {drew} of {looked} annotators drew it"
    if it.scorer == ensemble:
        reason += " (a held-out case, scored by all networks together)"
    return reason + "."


def _outermost(
    found: Sequence[tuple[Sighting, Suspect]], classes: Classes
) -> list[tuple[Sighting, Suspect]]:
    """Leave out what is suspected again in a region within another, or from the other side.

    A wrong class of a drawn component says what one of the predicted component there would repeat.
    """
    at: dict[tuple[str, Kind], list[tuple[Sighting, Suspect]]] = {}
    for pair in found:
        at.setdefault((pair[1].case_id, pair[1].kind), []).append(pair)

    def repeats(it: Sighting, other: Sighting) -> bool:
        if not _covers(other, it):
            return False
        if it.side == other.side:
            own, theirs = set(classes.regions[it.region]), set(classes.regions[other.region])
            return own < theirs
        return it.side == "predicted"

    return [
        (it, suspect)
        for it, suspect in found
        if not any(
            other is not it
            and repeats(it, other)
            and (suspect.kind == "wrong class" or it.side == other.side)
            for other, _ in at[suspect.case_id, suspect.kind]
        )
    ]


def _covers(outer: Sighting, inner: Sighting) -> bool:
    """Tell whether at least half of one box lies in another."""
    common, whole = 1, 1
    for (low, high), (start, end) in zip(outer.box, inner.box, strict=True):
        common *= max(0, min(high, end) - max(low, start))
        whole *= end - start
    return 2 * common >= whole


def _show(score: float) -> str:
    return f"{score:.2f}" if 0.01 <= score <= 0.99 else f"{score:.3g}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"
