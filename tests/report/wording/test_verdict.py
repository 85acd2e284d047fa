"""Every rule on results made by hand; the scorecards behind it are the real ones."""

from dataclasses import replace

import numpy as np
import pytest

from rareseg.decision.operating_point import (
    Infeasible,
    OperatingPoint,
    PointEvidence,
    ReachedPoint,
)
from rareseg.evaluation.comparisons.paired_test import compare_results
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.scorecard import make_scorecard
from rareseg.evaluation.metrics.objects import ObjectMatch
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.recipe import make_recipe
from rareseg.report.report_content import History, Leakage, ReportContent, RoleCount
from rareseg.report.wording.default_point_text import evidence_rows
from rareseg.report.wording.terminal_summary import short_scorecard
from rareseg.report.wording.verdict import judge
from rareseg_runner.decision.component_size import ANY_SIZE

NO_OBJECT = ObjectMatch((), (), (), ())


def result(number, counts, *, objects=NO_OBJECT, group="own", role="test", threshold=0.8):
    return CaseResult(
        case_id=f"case-{number}",
        region="pit",
        role=role,
        group=f"g{number}" if group == "own" else group,
        threshold=threshold,
        gate=0.0,
        smallest_component=ANY_SIZE,
        top_score=0.9,
        counts=counts,
        objects=objects,
        voxel_size=1.0,
        size_unit="mm³",
    )


def positive(number, tp, fp, fn, **more):
    return result(number, Counts(tp, fp, fn, 10_000 - tp - fp - fn), **more)


def negative(number, fp=0, **more):
    return result(number, Counts(0, fp, 0, 10_000 - fp), **more)


def make(results, **more):
    values = {
        "title": "t",
        "scorecards": (("at the chosen point", make_scorecard(results)),),
        "main_label": "at the chosen point",
        "points": {},
        "table": ScoreTable(),
        "results": tuple(results),
    }
    return ReportContent(**{**values, **more})


def sentences(content, word):
    return [sentence for sentence in judge(content) if word in sentence.text]


GOOD = [positive(k, 90, 5, 5) for k in range(24)] + [negative(k) for k in range(100, 124)]


@pytest.mark.parametrize(
    ("fp", "fn", "level", "word"),
    [
        (5, 5, "good", "segmented well"),
        (25, 25, "note", "moderately well"),
        (95, 95, "bad", "poorly"),
    ],
)
def test_bands_of_dice_and_iou(fp, fn, level, word):
    first = judge(make([positive(k, 90, fp, fn) for k in range(24)]))[0]
    assert first.level == level
    assert word in first.text


def test_the_headline_has_its_numbers():
    first = judge(make(GOOD))[0]
    assert "mean dice 0.95 (all groups alike) and IoU 0.90" in first.text
    assert "24 of 24 positive cases (100 %) found" in first.text


def test_high_accuracy_with_low_recall_is_called_out():
    # 12 % recall: 88 % is missed, and accuracy is that of predicting nothing.
    [sentence] = sentences(make([positive(k, 12, 0, 88) for k in range(24)]), "Accuracy")
    assert sentence.level == "warning"
    assert "Accuracy (99.1 %)" in sentence.text
    assert "everywhere reaches 99.0 %" in sentence.text
    assert "recall is 12 %: 88 % of it is missed" in sentence.text


def test_accuracy_that_says_something_is_left_alone():
    assert not sentences(make([positive(k, 900, 50, 50) for k in range(24)]), "Accuracy")


def test_dice_no_better_than_foreground_everywhere_is_called_out():
    # 7,000 of 10,000 pixels are drawn: everywhere reaches 2 * 0.7 / 1.7 = 0.82, the model 0.82.
    [sentence] = sentences(
        make([positive(k, 6_900, 2_930, 100) for k in range(24)]), "everywhere r"
    )
    assert sentence.level == "bad"
    assert "reaches a mean dice of 0.82 where the model has 0.82" in sentence.text
    assert "--invert-masks" in sentence.text


@pytest.mark.parametrize("counts", [(6_900, 100, 100), (1, 0, 99)])
def test_dice_that_gains_over_it_is_not(counts):
    found = sentences(make([positive(k, *counts) for k in range(24)]), "mean dice of")
    assert not [sentence for sentence in found if "everywhere" in sentence.text]


@pytest.mark.parametrize(
    ("alarms", "level"), [(0, "good"), (2, "good"), (3, "warning"), (11, "bad")]
)
def test_false_alarms(alarms, level):
    results = GOOD[:24] + [negative(100 + k, fp=k < alarms) for k in range(20)]
    [sentence] = sentences(make(results), "false alarm")
    assert sentence.level == level
    assert sentence.text.startswith(f"{alarms} of 20 cases without pit")


def test_missing_strata_are_said_not_scored():
    assert sentences(make(GOOD[:24]), "add images that hold nothing")[0].level == "note"
    only_negative = judge(make(GOOD[24:]))[0]
    assert only_negative.level == "note"
    assert "None of the 24 scored cases holds pit" in only_negative.text


def test_overfitting_needs_a_wide_gap():
    scored = 2 * 90 / (2 * 90 + 10)
    assert not sentences(make(GOOD, train_dice={"pit": scored + 0.149}), "overfits")
    results = [positive(k, 70, 30, 30) for k in range(24)]
    [sentence] = sentences(make(results, train_dice={"pit": 0.86}), "overfits")
    assert sentence.level == "warning"
    assert "0.86 on training cases, 0.70 on the scored ones" in sentence.text


def test_small_objects_that_are_missed():
    few = ObjectMatch((3, 40, 50, 60), (0, 30, 40, 50), (), ())
    results = [positive(k, 120, 0, 33, objects=few) for k in range(24)]
    [sentence] = sentences(make(results), "Small lesions")
    assert "0 % of the 24 smallest (up to 3 mm³) are found, 100 % of the other 72" in sentence.text
    all_found = ObjectMatch((3, 40, 50, 60), (1, 30, 40, 50), (), ())
    assert not sentences(
        make([positive(k, 121, 0, 32, objects=all_found) for k in range(24)]), "Small lesions"
    )
    assert not sentences(make(results[:4]), "Small lesions")  # four small objects say too little


def test_few_cases_are_named():
    [sentence] = sentences(make(GOOD[5:29]), "rests on only")
    assert "19 positive and 5 negative cases" in sentence.text
    assert not sentences(make(GOOD), "rests on only")


POINT = OperatingPoint(
    "pit", 0.8, objective="dice", role="validation", n_positive=30, n_negative=30, n_groups=60
)


def test_a_sound_point_needs_no_warning():
    assert not sentences(make(GOOD, points={"pit": POINT}), "threshold")


@pytest.mark.parametrize(
    ("point", "level", "word"),
    [
        (replace(POINT, edge_of_grid=True), "warning", "edge of the scores"),
        (replace(POINT, n_positive=1, n_negative=0), "warning", "only 1 positive case"),
        (replace(POINT, role="test"), "bad", "same test cases"),
        (Infeasible("pit", "none of the 9 cases holds the region"), "bad", "none of the 9 cases"),
    ],
)
def test_a_doubtful_point_is_called_out(point, level, word):
    [sentence] = [s for s in judge(make(GOOD, points={"pit": point})) if word in s.text]
    assert sentence.level == level


def test_leakage_and_independence_are_about_the_run():
    content = make([replace(found, group=None) for found in GOOD], leakage=Leakage(3, 1, "a and b"))
    leak, independent = judge(content)[-2:]
    assert (leak.level, leak.region) == ("bad", "")
    assert "1 group in more than one role and 3 pairs" in leak.text
    assert "a and b" in leak.text
    assert (independent.level, independent.region) == ("warning", "")
    assert "assumes independent images" in independent.text
    assert not sentences(make(GOOD), "assumes independent images")


def scored_pair(number, *, holds, distractor):
    """A case whose region scores 0.9 on 10 voxels and whose distractor scores 0.6."""
    scores = np.full(1000, 0.01, np.float32)
    reference = np.zeros(1000, bool)
    if holds:
        scores[:10], reference[:10] = 0.9, True
    if distractor:
        scores[20:30] = 0.6
    row = score_case(
        scores, reference, case_id=f"case-{number}", region="pit", group=f"g{number}", role="test"
    )
    cut = scores >= 0.8
    counts = Counts(
        int((cut & reference).sum()),
        int((cut & ~reference).sum()),
        int((~cut & reference).sum()),
        int((~cut & ~reference).sum()),
    )
    return row, result(number, counts)


def test_the_gain_over_one_half_is_paired():
    pairs = [scored_pair(k, holds=k < 20, distractor=k % 2 == 0) for k in range(40)]
    content = make([pair[1] for pair in pairs], table=ScoreTable(tuple(pair[0] for pair in pairs)))
    [sentence] = sentences(content, "is better than 0.5")
    # At 0.5 ten of twenty positives have dice 2·10/(2·10+10) = 2/3, the others 1: mean 5/6.
    assert sentence.level == "good"
    assert "mean dice changes by +0.17" in sentence.text
    assert "found stays at 100 %" in sentence.text
    assert "false alarms fall from 50 % to 0 %" in sentence.text


def test_no_gain_is_claimed_where_nothing_differs():
    pairs = [scored_pair(k, holds=k < 20, distractor=False) for k in range(40)]
    content = make([pair[1] for pair in pairs], table=ScoreTable(tuple(pair[0] for pair in pairs)))
    [sentence] = sentences(content, "0.5")
    assert sentence.level == "note"
    assert "gives the same masks as 0.5 in every case" in sentence.text


def test_no_gain_is_said_of_the_point_one_half_itself():
    results = [replace(found, threshold=0.5) for found in GOOD]
    assert not sentences(make(results), "chosen point")


def test_every_sentence_has_a_number_and_a_reason(content):
    assert content.verdicts == judge(content)
    for sentence in content.verdicts:
        assert any(character.isdigit() for character in sentence.text), sentence
        assert sentence.reason.endswith(".")
        assert sentence.text.endswith(".")


def test_no_result_gives_no_region():
    assert judge(make([])) == ()
    assert short_scorecard(make([])) == []


def test_the_short_scorecard_is_plain_text():
    results = GOOD
    halves = [replace(found, threshold=0.5) for found in results]
    content = make(
        results,
        scorecards=(
            ("at 0.5", make_scorecard(halves)),
            ("at the chosen point", make_scorecard(results)),
        ),
        points={"pit": replace(POINT, gate=0.93)},
    )
    lines = short_scorecard(replace(content, verdicts=judge(content)))
    assert lines[0].startswith("pit, on 24 positive and 24 negative test cases")
    assert lines[2].split()[:4] == ["at", "0.5", "0.95", "(all"]
    assert lines[3].endswith("0 % (0–14 %)")
    assert "cut at score >= 0.800, where the image score reaches 0.930" in lines[4]
    assert "chosen on 60 validation cases" in lines[4]
    assert lines[6].startswith("+ Where pit is present it is segmented well")
    assert len(lines) < 15


class TestUndertrained:
    def content(self, steps, dice=0.3, losses=()):
        return make(
            GOOD,
            recipe=make_recipe({"training": {"steps": steps}}),
            train_dice={"pit": dice},
            roles={"train": RoleCount(100, 40, 30)},
            history=History(steps={"loss": losses}),
        )

    def test_few_steps_are_named_before_groups_and_overfitting(self):
        found = judge(self.content(100))
        assert [k for k, one in enumerate(found) if "undertrained" in one.text] == [2]
        assert "it made 100 steps, where 800 are usual" in found[2].text
        assert found[2].level == "warning"

    def test_a_loss_that_still_falls_is_named(self):
        falling = tuple(np.linspace(2, 1, 50))
        [found] = sentences(self.content(800, losses=falling), "undertrained")
        assert "its loss was still falling" in found.text
        assert not sentences(self.content(800, losses=(1.0,) * 50), "undertrained")

    def test_who_learnt_its_training_cases_is_not_undertrained(self):
        assert not sentences(self.content(100, dice=0.6), "undertrained")


def test_the_short_scorecard_says_what_is_undefined():
    lines = short_scorecard(make(GOOD[:24], points={"pit": Infeasible("pit", "no positive case")}))
    assert lines[2].endswith("no negative case")
    assert lines[3] == "  no operating point: no positive case"


def test_a_gain_that_costs_much_dice_is_a_trade():
    # At 0.8 the positives are missed, at 0.5 they are found: alarms fall, and so does the dice.
    pairs = [scored_pair(k, holds=k < 20, distractor=k >= 20) for k in range(40)]
    missed = [
        replace(found, counts=replace(found.counts, tp=0, fn=found.counts.tp + found.counts.fn))
        for _, found in pairs
    ]
    content = make(missed, table=ScoreTable(tuple(row for row, _ in pairs)))
    [sentence] = sentences(content, "against 0.5")
    assert sentence.level == "warning"
    assert "trades one error for another" in sentence.text
    assert "found falls from 100 % to 0 %" in sentence.text
    assert sentence.text in "\n".join(short_scorecard(replace(content, verdicts=judge(content))))


EVIDENCE = PointEvidence(
    chosen=ReachedPoint(
        0.8,
        ANY_SIZE,
        0.93,
        0.61,
        0.7,
        0.125,
        {"dice": (0.5, 0.7), "found": (Undefined("few"),) * 2},
    ),
    few_alarms=ReachedPoint(0.8, ANY_SIZE, 0.95, 0.55, 0.6, 0.1),
    half=ReachedPoint(0.5, ANY_SIZE, 0.0, 0.5, 0.9, 0.4),
    n_positive_groups=12,
    n_negative_groups=20,
    n_folds=30,
    auc=0.8,
    auc_low=0.7,
    auc_high=0.9,
)


def with_evidence(**changes):
    return replace(
        POINT,
        n_positive=30,
        n_negative=30,
        n_groups=30,
        edge_of_grid=False,
        evidence=replace(EVIDENCE, **changes),
    )


def test_what_is_known_beside_a_point_is_said_in_the_terminal():
    lines = short_scorecard(make(GOOD, points={"pit": with_evidence()}))
    at = next(k for k, line in enumerate(lines) if "cut at score" in line)
    assert [line.strip() for line in lines[at + 1 : at + 4]] == [
        "On groups left out of the choice: dice 0.61 (0.50–0.70), found 70 %, alarms 12 % "
        "(12 groups with a positive case)",
        "With at most 10 % alarms, likewise: dice 0.55, found 60 %, alarms 10 % (threshold 0.800, "
        "gate 0.950)",
        "At 0.5: dice 0.50, found 90 %, alarms 40 %",
    ]
    assert not sentences(make(GOOD, points={"pit": with_evidence()}), "other cases may ask")


def test_folds_of_groups_and_what_is_undefined_are_said():
    none = Undefined("no negative case")
    point = replace(
        with_evidence(few_alarms=none, half=replace(EVIDENCE.half, alarms=none)), n_groups=90
    )
    rows = dict(evidence_rows(point))
    assert rows["On groups left out of the choice"].endswith("positive case, in 30 folds)")
    assert rows["With at most 10 % alarms, likewise"] == "no negative case"
    assert rows["At 0.5"] == "dice 0.50, found 90 %, no negative case"
    assert evidence_rows(POINT) == []


def test_scores_that_do_not_tell_are_named():
    point = with_evidence(chosen=EVIDENCE.half, auc=0.45, auc_high=0.58)
    [sentence] = sentences(make(GOOD, points={"pit": point}), "hardly higher than negative ones")
    assert sentence.level == "warning"
    assert "0.45, at most 0.58" in sentence.text
    rows = dict(evidence_rows(point))
    assert "On groups left out of the choice" not in rows  # nobody chose 0.5
    assert "0.45, at most 0.58" in rows["The scores are uninformative"]


def test_too_few_groups_are_named():
    point = with_evidence(n_positive_groups=4)
    [sentence] = sentences(make(GOOD, points={"pit": point}), "too few to tell")
    assert "chosen on 4 groups with a positive case" in sentence.text
    assert "at least 5 are needed" in dict(evidence_rows(point))["Too few groups"]


def test_one_group_that_carries_the_errors_is_named():
    results = [positive(k, 90, 1, 1) for k in range(12)] + [positive(50, 10, 400, 90, group="bad")]
    [found] = sentences(make(results), "carries")
    assert "One of 13 groups, bad, carries 95 % of what is wrong in pit" in found.text
    assert "with 1 of 13 cases" in found.text
    assert not sentences(make(GOOD), "carries")
    # With a third of the cases, most of the errors are no surprise.
    many = [*GOOD[:6], *(positive(60 + k, 10, 90, 90, group="bad") for k in range(3))]
    assert not sentences(make(many), "carries")


def test_without_names_no_group_and_no_case_is_told():
    results = [*GOOD, positive(99, 10, 900, 900, group="bad")]
    content = make(results, leakage=Leakage(3, 1, "a and b"))
    said = {sentence.text for sentence in judge(content)}
    unnamed = {sentence.text for sentence in judge(content, names=False)}
    assert unnamed < said
    left_out = said - unnamed
    assert len(left_out) == 2
    assert all("bad" in text or "a and b" in text for text in left_out)


@pytest.mark.parametrize(("high", "said"), [(0.4999, True), (0.9, False)])
def test_scores_in_one_bin_are_told_on_the_page_and_in_the_terminal(high, said):
    scores = np.linspace(0.499, high, 900, dtype=np.float32).reshape(1, 30, 30)
    reference = np.arange(900).reshape(1, 30, 30) >= 800
    table = ScoreTable((score_case(scores, reference, case_id="a", region="pit"),))
    content = make(GOOD, table=table)
    found = sentences(content, "every threshold takes all of them or none")
    assert bool(found) == said
    if said:
        assert found[0].level == "bad"
        lines = short_scorecard(replace(content, verdicts=judge(content)))
        assert f"x {found[0].text}" in lines


@pytest.mark.parametrize(("truth", "said"), [(0.9, False), (0.5, True)])
def test_overconfident_scores(truth, said):
    rng = np.random.default_rng(0)
    scores = np.full((1, 100, 100), 0.9, np.float32)
    reference = rng.random((1, 100, 100)) < truth
    table = ScoreTable((score_case(scores, reference, case_id="a", region="pit"),))
    found = sentences(make(GOOD, table=table), "are overconfident")
    assert bool(found) == said
    if said:
        assert "40 percentage points higher" in found[0].text


@pytest.mark.parametrize(
    ("priority", "counts", "level", "words"),
    [
        ("recall", (90, 50, 10), "good", "0.90"),
        ("recall", (50, 5, 50), "warning", "--min-recall"),
        ("precision", (90, 10, 50), "good", "0.90"),
        ("precision", (50, 50, 5), "warning", "--min-precision"),
        ("balanced", (80, 20, 22), "good", "recall is 0.78 and precision 0.80"),
        ("balanced", (80, 20, 80), "warning", "--beta"),
    ],
)
def test_what_was_asked_for_is_answered(priority, counts, level, words):
    results = [positive(k, *counts) for k in range(24)] + [negative(k) for k in range(100, 124)]
    [found] = sentences(make(results, priority=priority), "You asked for")
    assert (found.level, words in found.text) == (level, True)
    assert not sentences(make(results), "You asked for")
    # Where nothing is defined there is no answer.
    empty = make([negative(k) for k in range(30)])
    assert not sentences(replace(empty, priority=priority), "You asked for")


def test_what_changed_against_an_earlier_evaluation_is_said_with_its_interval_and_test():
    before = [positive(k, 60, 20, 40) for k in range(24)] + [negative(k, 5) for k in range(50, 74)]
    after = [positive(k, 80, 20, 20 + k) for k in range(24)] + [negative(k) for k in range(50, 74)]
    compared = {"pit": compare_results(before, after, region="pit")}
    [found] = sentences(make(after, comparisons=compared, against="spring"), "spring")
    assert found.level == "good"
    assert "pit is better than spring, on the same cases of 48 groups: mean dice +0.0" in found.text
    assert "false alarms −1.00 (all groups alike, p = 0.0001)" in found.text
    back = {"pit": compare_results(after, before, region="pit")}
    [found] = sentences(make(before, comparisons=back, against="spring"), "spring")
    assert (found.level, "worse than spring" in found.text) == ("warning", True)
    assert not sentences(make(after), "on the same cases of")
