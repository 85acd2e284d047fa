"""Decide the final answer of several reviewers on an item."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rareseg.quality.suspects import Suspect
from rareseg.review.answers import Answer, LatestAnswers, Verdict
from rareseg.review.page_api import is_stale

RULE = (
    "Done is what more than half of the reviewers of an item said, those who were unsure not "
    "counted; without such a majority nothing is changed. Verdicts on a prediction count for the "
    "prediction that was looked at alone."
)


@dataclass(frozen=True)
class FinalAnswer:
    """An item and what is done about it: ``verdict``, or None for the ``reason`` given."""

    item: Suspect
    verdict: Verdict | None
    answers: tuple[Answer, ...]
    reason: str = ""


def final_answers(latest: LatestAnswers, seen: str) -> tuple[FinalAnswer, ...]:
    """Return what is done about every item that anyone decided on, ordered by case and item.

    ``seen`` names the prediction in force
    (:class:`rareseg.review.case_predictions.CasePredictions`).
    """
    final = [_settle_item(tuple(said.values()), seen) for said in latest.values() if said]
    return tuple(sorted(final, key=lambda one: (one.item.case_id, one.item.id)))


def _settle_item(answers: tuple[Answer, ...], seen: str) -> FinalAnswer:
    item = max(answers, key=lambda answer: answer.number).item
    ordered = tuple(sorted(answers, key=lambda answer: answer.number))
    valid = [answer for answer in ordered if not is_stale(answer, seen)]
    votes = Counter(one.verdict for one in valid if one.verdict != "unsure")
    if not valid:
        return FinalAnswer(
            item, None, ordered, "decided on another prediction than the present one"
        )
    if not votes:
        return FinalAnswer(item, None, ordered, "nobody was sure")
    verdict, most = votes.most_common(1)[0]
    if 2 * most <= votes.total():
        return FinalAnswer(item, None, ordered, "no majority")
    return FinalAnswer(item, verdict, ordered)
