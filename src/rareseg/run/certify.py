"""Certify a guarantee of operating points on unseen cases, which are spent by it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from rareseg.data.case_files import read_case_mask
from rareseg.data.folder_lock import one_writer
from rareseg.data.records import Case
from rareseg.decision.decisions import Decisions
from rareseg.decision.guarantees.group_losses import needs_components
from rareseg.decision.guarantees.guarantee import Guarantee
from rareseg.decision.guarantees.guarantee_search import (
    CertifySet,
    GuaranteedPoint,
    keep_guarantee,
    refuse_count,
)
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.progress import Track, silent
from rareseg.run.outputs.guarantee_text import describe_ended, describe_guarantee
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.scores.score_source import CertifyCases, ScoreSource, asked_regions
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg.run.setup.run_folder import DataOptions
from rareseg.run.tune import Rule
from rareseg_runner.image_records import IGNORE, Classes
from rareseg_runner.preprocessing.preprocess import class_indices

Guaranteed = Mapping[str, GuaranteedPoint | Infeasible]
"""What came of a guarantee in each region."""

_USED_BEFORE = "these cases were used for another guarantee before, and can certify only once"


def certify(
    run: Path | str,
    guarantee: Guarantee,
    *,
    region: str | None = None,
    certify_on: DataOptions | Path | str | None = None,
    rule: Rule | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = say_nothing,
) -> Guaranteed:
    """Move the points of every region of a run, or of one, to where a guarantee holds; store both.

    As :func:`certify_source`. ``certify_on`` are new cases that stand for the guarantee; else those
    of the run's certify role do, else the validation cases. Raises :class:`RunError` for a folder
    that is no finished run, :class:`DataError` where the model has seen any of the new cases.
    """
    source = NetworkSource.open(run, certify_on, device=device)
    return certify_source(source, guarantee, rule=rule, region=region, track=track, say=say)


@one_writer("source.root")
def certify_source(
    source: ScoreSource,
    guarantee: Guarantee,
    *,
    rule: Rule | None = None,
    region: str | None = None,
    track: Track = silent,
    say: Say = say_nothing,
) -> Guaranteed:
    """Move the points of every region of some scores, or of one, to where a guarantee holds.

    Cases that nothing else has seen make a certificate, others an estimate. The way starts at the
    point that ``rule`` chooses on the validation cases; where None, at the best for the source's
    own objective. All regions of one call share the confidence. Cases certify once: of what is
    asked of them later, of whichever region, there is an estimate. An earlier certificate that a
    moved point ends is said. Where they are too few whatever their scores, they are not scored and
    stay unused. A region for which the guarantee is infeasible keeps its point.

    Raises :class:`UsageError` for an unknown region, and as the source does.
    """
    asked_regions(source.classes.regions, region)
    certify_set = source.certify_cases(track)
    if certify_set.grouping:
        say(certify_set.grouping)
    validation = source.tables(track)
    wanted = asked_regions(source.regions(track), region)
    rule = rule or Rule.usual(source.decision)
    asked = {name: rule.choose(validation, name).found for name in wanted}
    guarantee = declared(guarantee, asked)
    starts, found = enough_groups(
        guarantee,
        asked,
        certify_set.cases,
        source.classes,
        unlabelled=len(certify_set.unlabelled),
    )
    if starts:
        decisions = source.decisions()
        found |= _keep_each(source, guarantee, starts, certify_set, decisions, track)
        kept = {
            name: result for name, result in found.items() if isinstance(result, GuaranteedPoint)
        }
        for line in describe_ended(decisions, kept):
            say(line)
        source.keep(decisions.guarantee(kept, _spending(guarantee, starts, certify_set)))
    ordered = {name: found[name] for name in wanted}
    for result in ordered.values():
        say(describe_guarantee(result))
    return ordered


def declared(guarantee: Guarantee, asked: Mapping[str, OperatingPoint | Infeasible]) -> Guarantee:
    """Return the guarantee as one of those that are made of all regions on the same cases.

    A confidence is shared among them; guarantees in expectation each hold by themselves.
    """
    together = sum(isinstance(found, OperatingPoint) for found in asked.values())
    return (
        guarantee if guarantee.confidence is None else replace(guarantee, together=max(1, together))
    )


def enough_groups(
    guarantee: Guarantee,
    asked: Mapping[str, OperatingPoint | Infeasible],
    cases: Sequence[Case],
    classes: Classes,
    *,
    unlabelled: int = 0,
) -> tuple[dict[str, OperatingPoint], dict[str, GuaranteedPoint | Infeasible]]:
    """Return the points from which a guarantee may be kept, and what refuses it in other regions.

    From the masks of the cases that are to stand for it alone, so that no score is used up.
    ``unlabelled`` groups stand for it besides, each as an error.
    """
    starts: dict[str, OperatingPoint] = {}
    refused: dict[str, GuaranteedPoint | Infeasible] = {}
    for name, start in asked.items():
        if isinstance(start, Infeasible):
            refused[name] = start
            continue
        groups = _count_groups(cases, classes, name, guarantee) + unlabelled
        few = refuse_count(guarantee, name, groups)
        if few is None:
            starts[name] = start
        else:
            refused[name] = few
    return starts, refused


def _keep_each(
    source: ScoreSource,
    guarantee: Guarantee,
    starts: Mapping[str, OperatingPoint],
    certify_set: CertifyCases,
    decisions: Decisions,
    track: Track,
) -> dict[str, GuaranteedPoint | Infeasible]:
    """Return what comes of a guarantee in each region, from where its way starts."""
    validation, own = source.tables(track), source.certify_tables(certify_set, track)
    # Whatever was asked of these cases first, of all regions in one call, is all they stand for.
    first = {
        region: used[certify_set.digest]
        for region, used in decisions.spent.items()
        if certify_set.digest in used
    }
    found: dict[str, GuaranteedPoint | Infeasible] = {}
    for name, start in starts.items():
        unseen = certify_set.independent and (
            not first or first.get(name) == _guarantee_key(guarantee, start)
        )
        of_components = needs_components(guarantee, start)
        found[name] = keep_guarantee(
            guarantee,
            start,
            validation=validation[of_components],
            certify_set=CertifySet(
                own[of_components],
                certify_set.called or certify_set.role,
                certify_set.digest,
                source.arithmetic,
                unseen,
                _USED_BEFORE if certify_set.independent else certify_set.why_estimate,
                certify_set.alike,
                len(certify_set.unlabelled),
            ),
        )
    return found


def _spending(
    guarantee: Guarantee, starts: Mapping[str, OperatingPoint], certify_set: CertifyCases
) -> dict[str, tuple[str, str]]:
    """Return which cases were used up for what in each region: (digest, what was asked)."""
    if not certify_set.independent:
        return {}
    return {
        name: (certify_set.digest, _guarantee_key(guarantee, start))
        for name, start in starts.items()
    }


def _count_groups(
    cases: Sequence[Case], classes: Classes, region: str, guarantee: Guarantee
) -> int:
    """Return how many groups have a case that the guarantee is about, from the masks alone."""
    members = list(classes.regions[region])
    groups = []
    for case in cases:
        positive, counts = False, True
        mask = read_case_mask(case)
        if mask is not None:
            labels = class_indices(mask.array, classes.values, classes.ignore_value)
            positive = bool(np.isin(labels, members).any())
            counts = bool((labels != IGNORE).any())
        if counts and guarantee.is_about(positive=positive):
            groups.append(case.group)
    return count_groups(groups)


def _guarantee_key(guarantee: Guarantee, start: OperatingPoint) -> str:
    """Return what cases are asked to stand for: the guarantee, and where the way to it starts."""
    cut = (start.threshold, start.gate, start.smallest_component.plain)
    return json.dumps([asdict(guarantee), cut])
