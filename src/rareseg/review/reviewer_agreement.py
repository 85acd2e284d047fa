"""Measure how far reviewers agree on the same items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rareseg.evaluation.statistics.undefined import Undefined, Value
from rareseg.review.answers import LatestAnswers


@dataclass(frozen=True)
class Agreement:
    """Over the ``n_items`` that every one of ``reviewers`` decided.

    ``share`` is that on which all said the same; ``kappa`` is corrected for chance, by ``method``.
    """

    reviewers: tuple[str, ...]
    n_items: int
    share: Value
    kappa: Value
    method: str


def measure_agreement(latest: LatestAnswers) -> Agreement:
    """Return the agreement of all reviewers on the items that each of them decided.

    Cohen's κ for two reviewers, Fleiss' for more; Undefined for fewer than two, and where there is
    no such item or chance alone would agree everywhere.
    """
    reviewers = tuple(sorted({name for said in latest.values() for name in said}))
    method = "Cohen's κ" if len(reviewers) == 2 else "Fleiss' κ"
    rows = [
        tuple(str(said[name].verdict) for name in reviewers)
        for said in latest.values()
        if len(said) == len(reviewers)
    ]
    if len(reviewers) < 2 or not rows:
        some = f"no item was decided by all {len(reviewers)} reviewers"
        nothing = Undefined("fewer than two reviewers" if len(reviewers) < 2 else some)
        return Agreement(reviewers, 0, nothing, nothing, method)
    share = sum(len(set(row)) == 1 for row in rows) / len(rows)
    kappa = cohen_kappa(rows) if len(reviewers) == 2 else fleiss_kappa(rows)
    return Agreement(reviewers, len(rows), share, kappa, method)


def cohen_kappa(rows: Sequence[Sequence[str]]) -> Value:
    """Return κ = (p_o − p_e)/(1 − p_e) of two raters (Cohen 1960), p_e from each one's shares.

    ``rows`` hold the two verdicts on each item. Undefined for no item, or where p_e is 1.
    """
    n = len(rows)
    first, second = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
    observed = sum(row[0] == row[1] for row in rows) / max(1, n)
    expected = sum(first[word] * second[word] for word in first) / max(1, n) ** 2
    return _kappa(n, observed, expected)


def fleiss_kappa(rows: Sequence[Sequence[str]]) -> Value:
    """Return κ = (P̄ − P̄ₑ)/(1 − P̄ₑ) of several raters (Fleiss 1971, equations 2 to 7).

    ``rows`` hold the verdicts on each item, as many on each. Undefined for no item, or where P̄ₑ
    is 1.
    """
    n, total = len(rows), Counter(word for row in rows for word in row)
    raters = len(rows[0]) if rows else 0
    pairs = sum(count * (count - 1) for row in rows for count in Counter(row).values())
    observed = pairs / max(1, n * raters * (raters - 1))
    expected = sum((count / (n * raters)) ** 2 for count in total.values())
    return _kappa(n, observed, expected)


def _kappa(n: int, observed: float, expected: float) -> Value:
    if n == 0:
        return Undefined("no item was decided by all reviewers")
    if expected >= 1.0:
        return Undefined("all reviewers said one and the same of every item")
    return (observed - expected) / (1.0 - expected)
