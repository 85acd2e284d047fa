"""Guarantees, frontiers and prevalence where the gate cuts √(presence · top)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from rareseg.decision.calibration.prevalence import calls_at, estimate_prevalence
from rareseg.decision.guarantees.group_losses import losses_along
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.decision.guarantees.guarantee_search import CertifySet, keep_guarantee
from rareseg.decision.guarantees.point_path import path_to
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError
from rareseg.evaluation.metrics.overlap import count_masks
from rareseg.evaluation.tables.component_table import ComponentTable, components_of_case
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.image_score import image_score

LOW_GATE = OperatingPoint("r", threshold=0.5, gate=0.25)
"""Without a presence its gate silences nothing that its threshold does not."""


@cache
def draw(n, *, seed):
    """Images of 6 × 6, half of them with a square; all hold bright voxels, the presence tells."""
    rng = np.random.default_rng(seed)
    cases = {}
    for i in range(n):
        reference = np.zeros((6, 6), np.uint8)
        if i % 2:
            reference[1:4, 1:4] = 1
        odds = rng.normal(-2, 1.5, (6, 6)) + (reference == 1) * 3
        odds[5, 5] = rng.normal(1.5, 1.5)
        scores = (1 / (1 + np.exp(-odds))).astype(np.float32)
        presence = float(1 / (1 + np.exp(-rng.normal(3 if i % 2 else -3, 1.5))))
        cases[f"{seed}-{i:03}"] = (scores, reference, presence)
    return cases


def scores_of(cases, *, told=True):
    return ScoreTable(
        tuple(
            score_case(s, r, case_id=name, region="r", group=name, presence=q if told else None)
            for name, (s, r, q) in cases.items()
        )
    )


def components_of(cases):
    return ComponentTable(
        tuple(
            components_of_case(s, r, case_id=name, region="r", group=name, presence=q)
            for name, (s, r, q) in cases.items()
        )
    )


@pytest.mark.parametrize("of", [scores_of, components_of])
@pytest.mark.parametrize("kind", ["false negative rate", "false alarm rate"])
def test_losses_along_a_path_are_those_of_the_masks(kind, of):
    guarantee = make_guarantee(kind, 0.3, confidence=0.8)
    start = replace(LOW_GATE, smallest_component=0 if of is scores_of else 2)
    path = path_to(start, of(draw(40, seed=1)), guarantee)
    cases = draw(30, seed=2)
    found = losses_along(of(cases).rows, path, guarantee).losses
    for k in range(0, len(path), max(1, len(path) // 9)):
        cut = replace(start, threshold=path.threshold(k), gate=float(path.gates[k]))
        expected = []
        for scores, reference, presence in cases.values():
            counts = count_masks(apply_point(scores, cut, presence), reference)
            if guarantee.is_about(positive=counts.tp + counts.fn > 0):
                missed = counts.fn / max(1, counts.tp + counts.fn)
                expected.append(missed if kind == "false negative rate" else float(counts.fp > 0))
        assert found[:, k] == pytest.approx(expected)
    assert np.all(np.diff(found, axis=1) >= 0), "losses only grow"


def test_a_falling_gate_goes_below_the_threshold_where_images_have_a_presence():
    guarantee = make_guarantee("false alarm rate", 0.3, confidence=0.8)
    path = path_to(LOW_GATE, scores_of(draw(40, seed=1)), guarantee)
    below = path.gates < LOW_GATE.threshold
    assert below.sum() > 3
    losses = losses_along(scores_of(draw(200, seed=3)).rows, path, guarantee).losses.mean(axis=0)
    assert losses[below].min() < losses[-1], "alarms differ among gates below the threshold"
    without = path_to(LOW_GATE, scores_of(draw(40, seed=1), told=False), guarantee)
    assert (without.gates[:-1] > LOW_GATE.threshold).all()
    assert without.gates[-1] == LOW_GATE.gate


def test_a_frontier_offers_gates_below_the_threshold_where_images_have_a_presence():
    guarantee = make_guarantee("false discovery proportion", 0.3, confidence=0.8)

    def below(told):
        start = OperatingPoint("r", threshold=0.5)
        path = path_to(start, scores_of(draw(60, seed=1), told=told), guarantee)
        thresholds = np.array([path.threshold(k) for k in range(len(path))])
        return int(((path.gates > 0) & (path.gates < thresholds)).sum())

    assert below(told=True) > 0
    assert below(told=False) == 0


def test_a_guarantee_that_the_threshold_breaks_is_kept_by_a_gate_below_it():
    guarantee = make_guarantee("false alarm rate", 0.15, confidence=0.9)
    start = OperatingPoint("r", threshold=0.5)
    validation, own = draw(80, seed=1), draw(160, seed=2)

    def kept(told):
        certify_set = CertifySet(scores_of(own, told=told), "certify", "d", {}, True)
        return keep_guarantee(
            guarantee, start, validation=scores_of(validation, told=told), certify_set=certify_set
        )

    gated = kept(told=True)
    assert 0.0 < gated.point.gate < gated.point.threshold
    found = [
        apply_point(scores, gated.point, presence)[reference == 1].any()
        for scores, reference, presence in own.values()
        if reference.any()
    ]
    blind = kept(told=False)
    assert np.mean(found) > 0.8
    assert blind.point.mean_dice < gated.point.mean_dice


def test_a_guarantee_is_not_kept_by_cases_of_another_image_score():
    guarantee = make_guarantee("false alarm rate", 0.3, confidence=0.8)
    certify_set = CertifySet(scores_of(draw(40, seed=2), told=False), "certify", "d", {}, True)
    with pytest.raises(
        ScoreError, match="of the validation and the certify cases: some image scores"
    ):
        keep_guarantee(
            guarantee, LOW_GATE, validation=scores_of(draw(40, seed=1)), certify_set=certify_set
        )


def test_calls_and_prevalence_read_the_image_score():
    cases = draw(60, seed=1)
    calls = calls_at(scores_of(cases), LOW_GATE)
    assert [call.on for call in calls] == [
        bool(apply_point(s, LOW_GATE, q).any()) for s, _, q in cases.values()
    ]
    new = draw(60, seed=3).values()
    told, blind = (
        estimate_prevalence(
            scores_of(cases, told=telling),
            [image_score(float(s.max()), q if telling else None) for s, _, q in new],
            region="r",
            generator=np.random.default_rng(0),
        )
        for telling in (True, False)
    )
    assert told.low <= 0.5 <= told.high
    assert told.high - told.low < 0.7 * (blind.high - blind.low)
