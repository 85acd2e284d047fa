"""Say in words what a watch has found, what is not known any more, and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rareseg.decision.calibration.prevalence import PredictiveValues
from rareseg.evaluation.statistics.undefined import Undefined, Value, is_defined
from rareseg.monitoring.change_test import ChangeTest
from rareseg.monitoring.expected_flags import ExpectedFlags
from rareseg.monitoring.observed_features import ObservedFeature
from rareseg.report.wording.numbers import count, percent

SHOWN = 10
"""Images that are shown of what is unlike."""


def change_sentences(
    test: ChangeTest,
    *,
    noticed: Mapping[float, float],
    reference: str,
    guarantees: Sequence[str],
    label: str,
) -> tuple[str, ...]:
    """Return the answer, and what follows from it.

    ``noticed`` leads from shifts in standard deviations to the share of them that would have been
    noticed. ``reference`` is what the stream is held against, ``guarantees`` what was guaranteed of
    the points in use, ``label`` the call that draws groups to label.
    """
    groups = count(test.n_groups, "group")
    if test.n_groups == 0:
        return ("No group of the stream has been observed yet: nothing is known.",)
    if not test.changed:
        return (
            f"No change found ({groups}; a shift of one feature from the first of them on, by "
            f"{_shifts(noticed)}).",
        )
    first = min(test.noticed_at.values())
    still = "; ".join(guarantees) or "what the model reached on the cases that it was judged on"
    return (
        f"The stream differs from {reference} in {feature_list(tuple(test.noticed_at))}; noticed "
        f"first at group {first} of {test.n_groups}.",
        f"Whether this still holds is unknown: {still}.",
        f"Labels give numbers again: `{label}` draws the groups to label.",
    )


def feature_list(features: Sequence[ObservedFeature]) -> str:
    """Return features in a sentence, those of one region together."""
    regions: dict[str, list[str]] = {}
    for feature in features:
        regions.setdefault(feature.region, []).append(feature.name)
    parts = [f"{_joined(names)} of {region or 'the images'}" for region, names in regions.items()]
    return " and in ".join(parts)


def evidence_text(log_evidence: float) -> str:
    """Return an e-value's share from its natural logarithm: "0.4", "1,200", "10^12"."""
    power = log_evidence / math.log(10.0)
    if power > 6.0:
        return f"10^{power:.0f}"
    value = math.exp(log_evidence)
    return f"{value:,.0f}" if value >= 10.0 else f"{value:.2g}"


def expectation_lines(expected: ExpectedFlags) -> tuple[str, ...]:
    """Return what is expected of a region without labels, and that it is an estimate."""
    seen = f"{percent(expected.observed)} of {count(expected.n_images, 'image')} flagged"
    if not is_defined(expected.flagged):
        return (f"{expected.region}: {seen}. How many to expect is not estimable: "
                f"{_reason(expected.flagged)}.",)  # fmt: skip
    low, high = expected.flagged_interval
    prevalence = expected.prevalence
    held = f"{_share(prevalence.value)} ({_range(prevalence.low, prevalence.high)})"
    lines = (
        f"{expected.region}: {seen}. Estimate without labels, no guarantee: {held} of the images "
        f"hold it, so that {_share(expected.flagged)} are expected to be flagged "
        f"({_range(low, high)}).",
    )
    return lines if expected.predictive is None else (*lines, _worth(expected.predictive))


def _worth(worth: PredictiveValues) -> str:
    if not is_defined(worth.positive):
        return f"{worth.region}: what a flag is worth is not known: {_reason(worth.positive)}."
    return (
        f"{worth.region}: at that share {percent(worth.positive)} of the flagged images hold it "
        f"({_range(*worth.positive_interval)}), an estimate too."
    )


def _shifts(noticed: Mapping[float, float]) -> str:
    """Return "1 standard deviation, would have been noticed in 12 %, by 4 in 98 %"."""
    first, *others = noticed.items()
    told = [f"{first[0]:g} standard deviation, would have been noticed in {percent(first[1])}"]
    return ", ".join([*told, *(f"by {shift:g} in {percent(share)}" for shift, share in others)])


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _share(value: Value) -> str:
    return percent(value) if is_defined(value) else "an unknown share"


def _range(low: Value, high: Value) -> str:
    if not (is_defined(low) and is_defined(high)):
        return "no interval"
    return f"{percent(low)} to {percent(high)}"


def _reason(value: Value) -> str:
    return value.reason if isinstance(value, Undefined) else ""
