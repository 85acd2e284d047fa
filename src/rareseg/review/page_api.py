"""Answer the requests of the review page; knows nothing of HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rareseg.errors import UsageError
from rareseg.evaluation.statistics.undefined import value_to_json
from rareseg.quality.suspects import Suspect
from rareseg.review.affected_voxels import Bools
from rareseg.review.answers import VERDICTS, Answer, Answers, Verdict, checked_name
from rareseg.review.case_reader import CaseReader, ViewedCase
from rareseg.review.review_items import Items
from rareseg.review.reviewer_agreement import measure_agreement
from rareseg.review.slices import describe_case, frame_of, masks_of, pixels_of

PAGE = 50
"""Items of the list that are sent at a time."""

SHOWN = ("all", "undecided", "decided", "disagreements")
"""Which items the list can be narrowed to; all but the first are about one reviewer."""

ON_A_PREDICTION: tuple[Verdict, ...] = ("accept prediction", "ignore region")
"""Verdicts that say something of one prediction, and nothing once another is shown."""


@dataclass(frozen=True)
class Filter:
    """Which items are listed, and for whom; an empty ``kind`` means every kind."""

    reviewer: str = ""
    kind: str = ""
    shown: str = "all"

    @classmethod
    def of(cls, reviewer: str, kind: str, shown: str) -> Filter:
        """Check what a page sent; raises :class:`UsageError`."""
        if shown not in SHOWN:
            raise UsageError(f"'{shown}' cannot be shown; allowed are {', '.join(SHOWN)}.")
        return cls(checked_name(reviewer) if reviewer else "", kind, shown)


class PageApi:
    """One review: its items, the cases that they lie in, and the decisions."""

    def __init__(self, name: str, items: Items, cases: CaseReader, answers: Answers) -> None:
        self.name, self.items, self.cases, self.answers = name, items, cases, answers
        self._positions = {item.id: place for place, item in enumerate(items.items)}
        self.classes = cases.predictions.classes
        self.seen = cases.predictions.digest
        self._last_affected: tuple[str, Bools] = ("", np.zeros((0, 0, 0), np.bool_))

    def about(self) -> dict[str, Any]:
        """Return what does not change while the page is open."""
        kinds = Counter(item.kind for item in self.items.items)
        return {
            "name": self.name,
            "notice": self.items.notice,
            "kinds": dict(kinds),
            "verdicts": list(VERDICTS),
            "regions": list(self.classes.regions),
            "total": len(self.items.items),
        }

    def listed(self, wanted: Filter, *, offset: int = 0, around: str = "") -> dict[str, Any]:
        """Return one page of the list: at most :data:`PAGE` rows from ``offset`` on.

        ``around`` names an item whose page is wanted instead, or the page nearest to it.
        """
        latest = self.answers.latest()
        chosen = self._chosen(wanted, latest)
        if around in self._positions:
            place = self._positions[around]
            before = sum(self._positions[item.id] < place for item in chosen)
            offset = min(before, max(0, len(chosen) - 1)) // PAGE * PAGE
        offset = max(0, min(offset, max(0, len(chosen) - 1)))
        rows = [
            self._row(item, latest.get(item.id, {}), wanted.reviewer)
            for item in chosen[offset : offset + PAGE]
        ]
        return {
            "rows": rows,
            "offset": offset,
            "total": len(chosen),
            "progress": self._progress(latest, wanted.reviewer),
        }

    def neighbour(self, wanted: Filter, item: str, *, back: bool) -> str | None:
        """Return the id of the item before or after one among those listed; None at the end.

        The item itself need not be listed. With an unknown item: the first, or the last.
        """
        chosen = self._chosen(wanted, self.answers.latest())
        at = self._positions.get(item, len(self._positions) if back else -1)
        if back:
            found = [other.id for other in chosen if self._positions[other.id] < at]
            return found[-1] if found else None
        return next((other.id for other in chosen if self._positions[other.id] > at), None)

    def detail(self, item_id: str, reviewer: str) -> dict[str, Any]:
        """Return an item, its case and what was said of it.

        What others said is told once the reviewer has decided, so that all decide for themselves.
        """
        item = self._item(item_id)
        viewed = self.cases.look(item.case_id)
        predictions = self.cases.predictions
        said = self.answers.latest().get(item.id, {})
        mine = self._mine(said, reviewer)
        others = [_answer_record(one) for name, one in sorted(said.items()) if name != reviewer]
        return {
            "item": {**asdict(item), "position": self._positions[item.id] + 1},
            "case": {
                **describe_case(
                    viewed,
                    item,
                    self._affected(viewed, item),
                    self.classes,
                    self.cases.channel_names,
                ),
                "by": predictions.by(item.case_id),
                "role": predictions.roles[item.case_id],
            },
            "mine": None if mine is None else _answer_record(mine),
            "was": _answer_record(said[reviewer]) if mine is None and reviewer in said else None,
            "others": others if mine is not None else [],
            "n_others": len(others),
        }

    def plane(self, item_id: str, *, plane: int, channel: int) -> bytes:
        """Return a slice's pixels and, behind them, its masks."""
        item = self._item(item_id)
        viewed = self.cases.look(item.case_id)
        channels, planes = viewed.image.array.shape[:2]
        if (
            not 0 <= plane < planes
            or not -1 <= channel < channels
            or (channel == -1 and channels != 3)
        ):
            raise UsageError(
                f"Slice {plane} of channel {channel} is not there; '{item.case_id}' has {planes} "
                f"slices and {channels} channels, counted from 0."
            )
        frame = frame_of(viewed.image.array.shape[1:], item.box)
        affected, classes = self._affected(viewed, item), self.classes
        return pixels_of(viewed, frame, plane=plane, channel=channel) + masks_of(
            viewed, frame, affected, plane=plane, region=item.region, classes=classes
        )

    def decide(self, item_id: str, reviewer: str, verdict: str, note: str) -> dict[str, Any]:
        """Store a decision; what is returned is on the disk."""
        reviewer = checked_name(reviewer)
        answer = self.answers.record(
            self._item(item_id), reviewer=reviewer, verdict=verdict, note=note, seen=self.seen
        )
        latest = self.answers.latest()
        return {"decision": _answer_record(answer), "progress": self._progress(latest, reviewer)}

    def undo(self, reviewer: str) -> dict[str, Any]:
        """Take the reviewer's last decision back; ``item`` is None where there is none."""
        reviewer = checked_name(reviewer)
        item = self.answers.undo(reviewer)
        latest = self.answers.latest()
        return {"item": item, "progress": self._progress(latest, reviewer)}

    def agreement(self) -> dict[str, Any]:
        """Return how far the reviewers agree."""
        found = measure_agreement(self.answers.latest())
        return {
            "reviewers": list(found.reviewers),
            "n_items": found.n_items,
            "share": value_to_json(found.share),
            "kappa": value_to_json(found.kappa),
            "method": found.method,
        }

    def _affected(self, viewed: ViewedCase, item: Suspect) -> Bools:
        """Return the affected voxels; that of the last item is kept, for its other slices."""
        name, affected = self._last_affected
        if name != item.id:
            affected = viewed.affected.of(item)
            self._last_affected = (item.id, affected)
        return affected

    def _item(self, item_id: str) -> Suspect:
        if item_id not in self._positions:
            raise UsageError(f"There is no item '{item_id}'; choose one of the list.")
        return self.items.items[self._positions[item_id]]

    def _mine(self, said: Mapping[str, Answer], reviewer: str) -> Answer | None:
        """Return what the reviewer decided, unless it was on another prediction."""
        mine = said.get(reviewer)
        return None if mine is None or is_stale(mine, self.seen) else mine

    def _chosen(
        self, wanted: Filter, latest: Mapping[str, Mapping[str, Answer]]
    ) -> Sequence[Suspect]:
        items = self.items.items
        if wanted.kind:
            items = tuple(item for item in items if item.kind == wanted.kind)
        if wanted.shown == "all":
            return items

        def is_shown(item: Suspect) -> bool:
            said = latest.get(item.id, {})
            mine = self._mine(said, wanted.reviewer)
            if wanted.shown == "undecided":
                return mine is None
            if wanted.shown == "decided":
                return mine is not None
            return mine is not None and _differ(said)

        return [item for item in items if is_shown(item)]

    def _row(self, item: Suspect, said: Mapping[str, Answer], reviewer: str) -> dict[str, Any]:
        mine = self._mine(said, reviewer)
        return {
            "id": item.id,
            "position": self._positions[item.id] + 1,
            "case": item.case_id,
            "region": item.region,
            "kind": item.kind,
            "score": round(item.score, 4),
            "mine": None if mine is None else mine.verdict,
            "differs": mine is not None and _differ(said),
        }

    def _progress(
        self, latest: Mapping[str, Mapping[str, Answer]], reviewer: str
    ) -> dict[str, int]:
        known = [said for name, said in latest.items() if name in self._positions]
        mine = [said for said in known if self._mine(said, reviewer) is not None]
        return {
            "total": len(self.items.items),
            "decided": len(mine),
            "differ": sum(_differ(said) for said in mine),
        }


def is_stale(answer: Answer, seen: str) -> bool:
    """Tell whether a decision speaks of a prediction that is another now."""
    return answer.verdict in ON_A_PREDICTION and answer.seen != seen


def _differ(said: Mapping[str, Answer]) -> bool:
    return len({one.verdict for one in said.values()}) > 1


def _answer_record(answer: Answer) -> dict[str, Any]:
    return {
        "reviewer": answer.reviewer,
        "verdict": answer.verdict,
        "note": answer.note,
        "at": answer.at,
    }
