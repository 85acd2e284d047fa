from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from rareseg.decision.guarantees.group_losses import losses_along
from rareseg.decision.guarantees.guarantee import Certificate, EstimatedGuarantee, make_guarantee
from rareseg.decision.guarantees.guarantee_search import CertifySet, keep_guarantee, refuse_count
from rareseg.decision.guarantees.point_path import path_to
from rareseg.decision.operating_point import Infeasible, OperatingPoint, choose_operating_point
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.metrics.objects import match_objects
from rareseg.evaluation.metrics.overlap import count_masks
from rareseg.evaluation.tables.component_table import ComponentTable, components_of_case
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg_runner.decision.component_size import as_size
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.image_records import IGNORE

GUARANTEES = [
    make_guarantee("false negative rate", 0.3, confidence=None),
    make_guarantee("false negative rate", 0.3, confidence=0.8),
    make_guarantee("false negative rate", 0.3, confidence=0.8, level="image", within="any"),
    make_guarantee("false alarm rate", 0.3, confidence=None),
    make_guarantee("false alarm rate", 0.3, confidence=0.8),
    make_guarantee("false alarm rate", 0.3, confidence=0.8, level="voxel"),
    make_guarantee("false discovery proportion", 0.3, confidence=0.8),
]
OBJECT_GUARANTEES = [
    make_guarantee("false negative rate", 0.3, level="object", confidence=None),
    make_guarantee("false discovery proportion", 0.3, confidence=0.8, level="object"),
]


class Cases(dict):
    """Drawn cases, alike only where they are the same, so that their tables are made once."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


@cache
def draw(n, *, seed, prevalence=0.5, overlap=1.5, group_size=1):
    """Images of 6 × 6 with a square or none, some of their voxels ignored."""
    rng = np.random.default_rng(seed)
    cases = Cases()
    for i in range(n):
        reference = np.zeros((6, 6), np.uint8)
        if rng.random() < prevalence:
            reference[1:4, 1:4] = 1
        odds = rng.normal(-3, 1, (6, 6)) + (reference == 1) * (3 + rng.normal(0, overlap))
        if rng.random() < prevalence / 2:
            reference[5, 4:] = 1
        reference[0, : rng.integers(0, 3)] = IGNORE
        scores = (1 / (1 + np.exp(-odds))).astype(np.float32)
        cases[f"{seed}-{i:03}"] = (scores, reference, f"g{seed}-{i // group_size}")
    return cases


@cache
def table_of(cases, grouped=True):
    return ScoreTable(
        tuple(
            score_case(
                s, r, ignores=True, case_id=name, region="r", group=group if grouped else None
            )
            for name, (s, r, group) in cases.items()
        )
    )


@cache
def components_of(cases):
    return ComponentTable(
        tuple(
            components_of_case(s, r, ignores=True, case_id=name, region="r", group=group)
            for name, (s, r, group) in cases.items()
        )
    )


def loss_of(guarantee, scores, reference, point):
    """The definition, from the mask itself; None for a case that the guarantee is not about."""
    mask = apply_point(scores, point)
    counts, objects = (
        count_masks(mask, reference, ignores=True),
        match_objects(reference, mask, ignores=True),
    )
    positive = counts.tp + counts.fn > 0
    if not guarantee.is_about(positive=positive):
        return None
    if guarantee.kind == "false negative rate":
        if guarantee.level == "object":
            return 1 - objects.n_found / len(objects.sizes)
        return counts.tp == 0 if guarantee.level == "image" else counts.fn / (counts.tp + counts.fn)
    if guarantee.kind == "false alarm rate":
        return counts.fp > 0 if guarantee.level == "image" else counts.fp / counts.total
    if guarantee.level == "object":
        n = len(objects.predicted_sizes)
        return len(objects.false_positive_sizes) / n if n else 0.0
    return counts.fp / (counts.tp + counts.fp) if counts.tp + counts.fp else 0.0


def check_losses(guarantee, start, path, table, cases):
    """Compare the losses along a path with those of the masks, at some of its points."""
    found = losses_along(table.rows, path, guarantee)
    for k in range(0, len(path), max(1, len(path) // 7)):
        cut = replace(
            start,
            threshold=path.threshold(k),
            gate=float(path.gates[k]),
            smallest_component=path.smallest_component,
        )
        by_group = {}
        for scores, reference, group in cases.values():
            loss = loss_of(guarantee, scores, reference, cut)
            if loss is not None:
                by_group.setdefault(group, []).append(float(loss))
        rule = max if guarantee.within == "any" else np.mean
        assert found.losses[:, k] == pytest.approx([rule(v) for v in by_group.values()])
        assert found.n_cases == sum(map(len, by_group.values()))


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("gate", [0.0, 0.25])
def test_losses_from_the_table_are_those_of_the_masks(guarantee, gate):
    validation, cases = draw(20, seed=1), draw(18, seed=2, group_size=3)
    start = OperatingPoint(region="r", threshold=0.25, gate=gate)
    path = path_to(start, table_of(validation), guarantee)
    check_losses(guarantee, start, path, table_of(cases), cases)


@pytest.mark.parametrize("guarantee", [*GUARANTEES, *OBJECT_GUARANTEES])
@pytest.mark.parametrize(("gate", "smallest"), [(0.0, 0), (0.25, 2), (0.0, 3)])
def test_losses_from_components_are_those_of_the_masks(guarantee, gate, smallest):
    validation, cases = draw(20, seed=1), draw(18, seed=2, group_size=3)
    start = OperatingPoint("r", threshold=0.25, gate=gate, smallest_component=smallest)
    path = path_to(start, components_of(validation), guarantee)
    assert path.grid is not None
    table = components_of(cases)
    check_losses(guarantee, start, path, table, cases)
    if guarantee.monotone:
        assert np.all(np.diff(losses_along(table.rows, path, guarantee).losses, axis=1) >= 0)


def test_a_guarantee_about_objects_with_a_smallest_component():
    guarantee = make_guarantee("false negative rate", 0.4, level="object", confidence=None)
    validation = components_of(draw(40, seed=4, overlap=0.3))
    certify_set = CertifySet(components_of(draw(40, seed=5, overlap=0.3)), "certify", "d", {}, True)
    # A threshold between two of the grid is moved to the lower one, which misses less.
    start = OperatingPoint(
        "r", threshold=float(bin_edges()[bin_of(0.25) + 7]), smallest_component=2
    )
    kept = keep_guarantee(guarantee, start, validation=validation, certify_set=certify_set)
    assert kept.point.threshold == 0.25
    assert kept.point.smallest_component == as_size(2)
    assert kept.statement.value < 0.4
    path = path_to(OperatingPoint("r", threshold=0.25), table_of(draw(9, seed=4)), GUARANTEES[0])
    with pytest.raises(ScoreError, match="cannot be followed in a component table"):
        losses_along(validation.rows, path, guarantee)


@pytest.mark.parametrize("guarantee", [p for p in GUARANTEES if p.monotone])
def test_along_a_path_losses_only_grow_and_it_ends_at_the_point(guarantee):
    start = OperatingPoint(region="r", threshold=0.25, gate=0.375)
    path = path_to(start, table_of(draw(30, seed=1)), guarantee)
    losses = losses_along(table_of(draw(30, seed=2)).rows, path, guarantee).losses
    assert len(path) > 2
    assert np.all(np.diff(losses, axis=1) >= 0)
    if guarantee.level == "voxel":
        assert losses[:, 0].sum() < losses[:, -1].sum()
    if guarantee.kind == "false alarm rate":
        assert (path.threshold(len(path) - 1), path.gates[-1]) == (0.25, 0.375)
    assert path.best(len(path)) == len(path) - 1


def test_a_path_of_false_discoveries_grows_in_loss_and_worth_on_its_own_cases():
    guarantee = make_guarantee("false discovery proportion", 0.2, confidence=0.9)
    validation = table_of(draw(40, seed=3))
    start = choose_operating_point(validation, region="r")
    path = path_to(start, validation, guarantee)
    mean = losses_along(validation.rows, path, guarantee).losses.mean(axis=0)
    assert np.all(np.diff(mean) >= 0)
    assert np.isinf(path.worth).sum() == 1
    other = np.isfinite(path.worth)
    assert np.all(np.diff(path.worth[other]) >= -1e-12)
    here = int(np.argmax(path.worth))
    assert (path.threshold(here), path.gates[here]) == (start.threshold, start.gate)


def test_a_gate_that_alone_breaks_the_guarantee_is_left_out():
    guarantee = make_guarantee("false negative rate", 0.1, confidence=None)
    validation = table_of(draw(30, seed=1))
    shut = path_to(OperatingPoint(region="r", threshold=0.5, gate=0.99), validation, guarantee)
    assert not shut.gates.any()
    open_ = path_to(OperatingPoint(region="r", threshold=0.5, gate=1e-4), validation, guarantee)
    assert np.all(open_.gates == 1e-4)


def keep(guarantee, *, n=60, unseen=True, grouped=True, seed=5, point=None, **drawing):
    validation = table_of(draw(40, seed=4, **drawing))
    start = point or choose_operating_point(validation, region="r")
    certify_set = CertifySet(
        table_of(draw(n, seed=seed, **drawing), grouped), "certify", "d1", {"weights": "w"}, unseen
    )
    return keep_guarantee(guarantee, start, validation=validation, certify_set=certify_set), start


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_guarantee_that_holds_at_the_chosen_point_leaves_it_alone(guarantee):
    generous = replace(guarantee, alpha=0.9)
    kept, start = keep(generous, overlap=0.2)
    assert kept.point == start
    statement = kept.statement
    assert isinstance(statement, Certificate)
    assert (statement.threshold, statement.gate) == (start.threshold, start.gate)
    assert statement.value <= 0.9
    assert not statement.assumes_independent_images


def test_a_point_that_finds_nothing_is_never_certified():
    """What is on in positive images is on beside the object: no alarm is no find."""

    def table(n):
        rng = np.random.default_rng(n)
        rows = []
        for k in range(n):
            positive = k % 2
            scores = rng.uniform(0.0, 0.3, (4, 4)) + (0.0 if positive else 0.5)
            scores[0, 0] = 0.95 if positive else 0.6
            labels = np.zeros((4, 4), np.uint8)
            labels[1:3, 1:3] = positive
            rows.append(
                score_case(
                    scores.astype(np.float32), labels, case_id=str(k), region="r", group=str(k)
                )
            )
        return ScoreTable(tuple(rows))

    validation, cases = table(40), table(80)
    guarantee = make_guarantee("false alarm rate", 0.2, confidence=0.8)
    certify_set = CertifySet(cases, "certify", "d1", {"weights": "w"}, unseen=True)
    start = OperatingPoint("r", threshold=0.5)
    found = keep_guarantee(guarantee, start, validation=validation, certify_set=certify_set)
    assert isinstance(found, Infeasible)
    assert "no positive validation case is found" in found.reason


def test_guarantees_made_together_share_the_confidence():
    alone = make_guarantee("false alarm rate", 0.2)
    three = replace(alone, together=3)
    assert (alone.confidence, alone.own_confidence) == (0.95, 0.95)
    assert three.own_confidence == pytest.approx(1 - 0.05 / 3)
    assert "95 % confidence together with all 3 guarantees" in three.sentence
    assert refuse_count(alone, "r", 0).needed_groups < refuse_count(three, "r", 0).needed_groups
    kept, _ = keep(three, n=90)
    assert kept.statement.guarantee.together == 3
    assert "3 regions together" in kept.point.objective or kept.point.objective == "dice"
    expected = replace(make_guarantee("false negative rate", 0.2, confidence=None), together=3)
    assert expected.own_confidence is None
    assert "together" not in expected.sentence


def test_a_harder_guarantee_moves_the_point_and_says_so():
    guarantee = make_guarantee("false negative rate", 0.1, confidence=None)
    kept, start = keep(guarantee, overlap=2.0, point=OperatingPoint("r", threshold=0.75))
    assert kept.point.threshold < start.threshold
    assert "then false negative rate ≤ 10 %" in kept.point.objective
    assert OperatingPoint.from_dict(kept.point.to_dict()) == kept.point
    n = kept.statement.n_groups
    assert (n * kept.statement.value + 1) / (n + 1) <= 0.1
    alarm = make_guarantee("false alarm rate", 0.2, confidence=0.8)
    low = OperatingPoint("r", threshold=0.0625)
    kept, start = keep(alarm, point=low)
    assert kept.point.threshold == start.threshold
    assert kept.point.gate > 0
    assert kept.point.share_clean > 0.8


def test_what_an_estimate_rests_on():
    guarantee = make_guarantee("false alarm rate", 0.3, confidence=0.8)
    kept, _ = keep(guarantee, unseen=False, grouped=False)
    assert type(kept.statement) is EstimatedGuarantee
    assert "no certificate" in kept.statement.method
    assert "assumes independent images" in kept.statement.sentence


@pytest.mark.parametrize("prevalence", [0.0, 1.0])
def test_cases_of_one_kind_only(prevalence):
    validation = table_of(draw(40, seed=4, overlap=0.3))
    start = choose_operating_point(validation, region="r")
    table = table_of(draw(40, seed=5, overlap=0.3, prevalence=prevalence))
    certify_set = CertifySet(table, "certify", "d1", {}, True)
    missed = keep_guarantee(GUARANTEES[0], start, validation=validation, certify_set=certify_set)
    alarmed = keep_guarantee(GUARANTEES[4], start, validation=validation, certify_set=certify_set)
    refused = missed if prevalence == 0.0 else alarmed
    assert isinstance(refused, Infeasible)
    assert "there are none; they can guarantee nothing" in refused.reason
    assert not isinstance(alarmed if prevalence == 0.0 else missed, Infeasible)


def test_too_few_groups_are_told_how_many_it_takes_and_what_they_can_guarantee():
    guarantee = make_guarantee("false alarm rate", 0.05, confidence=0.95)
    refused = refuse_count(guarantee, "r", 46)
    assert refused.needed_groups == 59
    assert refused.best_reachable == pytest.approx(1 - 0.05 ** (1 / 46))
    for part in ("at least 59 groups with negative images", "there are 46", "6.4 %"):
        assert part in refused.reason
    assert refuse_count(guarantee, "r", 59) is None
    # 40 images of 20 groups are 20.
    table = table_of(draw(40, seed=5, prevalence=0.0, group_size=2))
    start = OperatingPoint("r", threshold=0.5)
    certify_set = CertifySet(table, "certify", "d1", {}, True)
    few = keep_guarantee(guarantee, start, validation=table, certify_set=certify_set)
    assert "there are 20" in few.reason


def test_a_guarantee_that_even_the_safest_point_breaks_is_infeasible():
    validation = table_of(draw(40, seed=4))
    saturated = ScoreTable(
        tuple(
            score_case(
                np.ones((2, 2), np.float32), np.zeros((2, 2), bool), case_id=f"{i}", region="r"
            )
            for i in range(60)
        )
    )
    guarantee = make_guarantee("false alarm rate", 0.05, confidence=0.95)
    start = choose_operating_point(validation, region="r")
    certify_set = CertifySet(saturated, "certify", "d1", {}, True)
    refused = keep_guarantee(guarantee, start, validation=validation, certify_set=certify_set)
    assert refused.needed_groups is None
    assert refused.best_reachable == 1.0
    assert "100 %" in refused.reason
    assert "more groups would not help" in refused.reason


def test_what_histograms_cannot_see_is_refused():
    validation = table_of(draw(20, seed=4))
    certify_set = CertifySet(validation, "certify", "d1", {}, True)
    sized = OperatingPoint("r", threshold=0.5, smallest_component=3)
    with pytest.raises(UsageError, match="do not see components"):
        keep_guarantee(GUARANTEES[3], sized, validation=validation, certify_set=certify_set)
    objects = make_guarantee("false negative rate", 0.3, level="object", confidence=None)
    point = OperatingPoint("r", threshold=0.5)
    with pytest.raises(UsageError, match="do not see components"):
        keep_guarantee(objects, point, validation=validation, certify_set=certify_set)
