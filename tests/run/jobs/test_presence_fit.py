"""From training to masks: every gate reads what the network says of the whole image."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from rareseg.decision.calibration.fit_presence import fit_presence_scaling
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.evaluation.tables.component_table_io import load_components
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.score_table_io import load_table
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import split_members
from rareseg.prediction.scorer import ModelScorer
from rareseg.review.case_predictions import CasePredictions
from rareseg.run.calibrate import calibrate
from rareseg.run.certify import certify
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_folds
from rareseg.run.suspects import find_suspects
from rareseg.run.tune import Rule, tune_source
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.formats import read_image

REGION = "foreground"


def lines_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(telling, tmp_path):
    return shutil.copytree(telling, tmp_path / "run")


@pytest.fixture(scope="module")
def told(telling):
    """What the bundle says of every validation and test case, by case."""
    folder = open_run(telling)
    scorer = ModelScorer(load_model(folder.bundle))
    cases = [*cases_of(folder, "validation"), *cases_of(folder, "test")]
    return {case.id: scorer.score(read_image(case.images)) for case in cases}


def test_the_network_has_learned_which_images_hold_anything(told, telling):
    rows = load_table(telling / "scores" / "test.npz").rows
    said = {kind: [r.presence for r in rows if (r.n_inside > 0) == kind] for kind in (True, False)}
    assert np.mean(said[True]) > np.mean(said[False]) + 0.2


def test_tables_hold_what_predict_says(told, telling):
    for role in ("validation", "test"):
        for table in (
            load_table(telling / "scores" / f"{role}.npz"),
            load_components(telling / "scores" / f"{role}_components.npz"),
        ):
            assert len(table) > 9
            for row in table:
                assert row.presence == told[row.case_id].presence[REGION]


def test_the_presence_is_scaled_by_the_validation_cases(telling):
    folder = open_run(telling)
    bundle = load_model(folder.bundle)
    scaling = bundle.presence[REGION]
    assert scaling.reason == ""
    assert min(scaling.n_positive, scaling.n_negative) >= 5
    unscaled = ModelScorer(replace(bundle, presence={}))
    said = {c.id: unscaled.score(read_image(c.images)) for c in cases_of(folder, "validation")}
    rows = load_table(folder.scores("validation")).rows
    raw = ScoreTable(tuple(replace(r, presence=said[r.case_id].presence[REGION]) for r in rows))
    assert fit_presence_scaling(raw, region=REGION) == scaling
    assert [scaling.apply(row.presence) for row in raw] == [row.presence for row in rows]
    assert any(row.presence != was.presence for row, was in zip(rows, raw, strict=True))


def test_cases_csv_says_what_the_gate_has_cut(told, telling):
    for line in lines_of(telling / "cases.csv"):
        found = told[line["case"]]
        assert float(line["presence"]) == found.presence[REGION]
        expected = np.float32(
            np.sqrt(np.float64(found.presence[REGION]) * float(line["top_score"]))
        )
        assert float(line["image_score"]) == expected
        if float(line["image_score"]) < float(line["gate"]):
            assert int(line["tp"]) + int(line["fp"]) == 0


def test_masks_evaluation_and_review_are_gated_alike(
    run, plates, told, call, tmp_path, assert_agrees
):
    """At a gate below the threshold, which cuts by presence alone."""
    rows = load_table(run / "scores" / "test.npz").rows
    # Just above the image score of a case that its presence lowers, so that others pass.
    row = min(rows, key=lambda row: row.image_score - row.top)
    assert row.presence < row.top - 0.1, "the case that its presence lowers most"
    passing = [r.image_score for r in rows if r.n_inside and r.image_score > row.image_score]
    assert passing, "a positive case that its presence lowers less"
    gate = float(np.float32((row.image_score + min(*passing, row.top)) / 2))
    threshold = float(np.float32((gate + row.top) / 2))
    called = call("tune", run, "--threshold", threshold, "--gate", gate)
    assert called.code == 0, called.err
    assert call("evaluate", run, plates, "--out", tmp_path / "scores").code == 0
    assert call("predict", run, plates, "--out", tmp_path / "masks").code == 0
    tests = [case.id for case in cases_of(open_run(run), "test")]
    references = {case: plates / "masks" / f"{case}.png" for case in tests}
    lines = assert_agrees(
        tmp_path / "scores" / "cases.csv", tmp_path / "masks", references, {REGION: (255,)}
    )
    silenced = [
        line
        for line in lines
        if float(line["top_score"]) >= threshold > gate > float(line["image_score"])
    ]
    assert silenced, "bright images that the presence silences"
    passed = [line for line in lines if float(line["image_score"]) >= gate]
    assert any(int(line["tp"]) + int(line["fp"]) for line in passed)
    seen = CasePredictions(open_run(run), tmp_path / "review")
    point = load_decisions(run / "bundle").points[REGION]
    for case in cases_of(open_run(run), "test"):
        found = told[case.id]
        scores = region_scores(found.probabilities, seen.classes)[REGION]
        mask = apply_point(scores, point, found.presence[REGION])
        assert np.array_equal(seen.of(case.id, read_image(case.images)) == 1, mask)


def test_a_certificate_is_void_where_the_presence_is_scaled_otherwise(telling):
    bundle = load_model(telling / "bundle")
    known = bundle.arithmetic("cpu")
    scaling = replace(bundle.presence[REGION], bias=9.0)
    changed = replace(bundle, presence={REGION: scaling}).arithmetic("cpu")
    assert known != changed
    assert json.loads(json.dumps(known)) == known


def test_an_estimate_by_a_falling_gate_moves_along_image_scores(run):
    guarantee = make_guarantee("false alarm rate", 0.5, confidence=0.8)
    start = Rule.by_hand(0.5)
    kept = certify(run, guarantee, rule=start)[REGION]
    assert isinstance(kept, GuaranteedPoint)
    assert kept.point.gate > 0
    rows = load_table(run / "scores" / "validation.npz").rows
    alarmed = [
        row.top >= kept.point.threshold and row.image_score >= kept.point.gate
        for row in rows
        if not row.n_inside
    ]
    assert kept.statement.value == pytest.approx(np.mean(alarmed))
    assert kept.point.threshold == 0.5


def test_prevalence_is_read_from_image_scores(run, plates, tmp_path):
    found = calibrate(run, unlabelled=plates)[REGION]
    assert found.source == "estimated from 40 unlabelled images"
    assert 0.2 < found.prevalence < 0.8


def test_suspects_do_not_depend_on_the_gate(run):
    point = load_decisions(run / "bundle").points[REGION]
    found = []
    for gate in (0.0, 0.9):
        rule = Rule.by_hand(point.threshold, smallest=point.smallest_component, gate=gate)
        tune_source(NetworkSource.open(run), rule)
        found.append(find_suspects(run).suspects)
    assert found[0] == found[1]


def test_it_goes_on_where_it_stopped(telling, plates, call, tell, tmp_path):
    """As a run that was killed before its bundle was written, with the tables already there."""
    run = shutil.copytree(telling, tmp_path / "run")
    shutil.rmtree(run / "bundle")
    called = call("train", plates, "--out", run, *tell())
    assert called.code == 0, called.err
    again, before = load_model(run / "bundle"), load_model(telling / "bundle")
    assert again.presence == before.presence
    assert all(torch.equal(again.weights[name], t) for name, t in before.weights.items())
    assert load_table(run / "scores" / "validation.npz") == load_table(
        telling / "scores" / "validation.npz"
    )


def test_out_of_fold_each_network_tells_of_the_cases_that_it_has_not_seen(
    plates, call, tell, tmp_path
):
    run = tmp_path / "run"
    called = call("train", plates, "--out", run, "--folds", "2", *tell(training__steps=40))
    assert called.code == 0, called.err
    folder = open_run(run)
    bundle, folds = load_model(folder.bundle), read_folds(folder.folds)
    assert bundle.members == 2
    assert bundle.presence[REGION].n_positive >= 5
    rows = {row.case_id: row for row in load_table(folder.scores("out-of-fold"))}
    members = split_members(bundle)
    for case in cases_of(folder, "train")[::6]:
        image = read_image(case.images)
        alone = replace(bundle, weights=members[folds[case.id]], members=1)
        assert rows[case.id].presence == ModelScorer(alone).score(image).presence[REGION]
        raw = [
            ModelScorer(replace(bundle.member(k), presence={})).score(image).presence
            for k in range(len(members))
        ]
        mean = float(np.mean([said[REGION] for said in raw], dtype=np.float32))
        told = ModelScorer(bundle).score(image).presence[REGION]
        assert told == pytest.approx(bundle.presence[REGION].apply(mean), rel=1e-5)


def test_of_two_stages_the_first_tells(plates, call, tell, tmp_path):
    run, two = tmp_path / "run", "{folds: 2, margin: 2, recall: 0.95}"
    called = call("train", plates, "--out", run, *tell(training__steps=80, training__cascade=two))
    assert called.code == 0, called.err
    bundle, folder = load_model(run / "bundle"), open_run(run)
    assert bundle.tells_presence
    *first, second = split_members(bundle)
    assert all(any(name.startswith("image_head.") for name in weights) for weights in first)
    assert not any(name.startswith("image_head.") for name in second)
    case = cases_of(folder, "test")[0]
    image = read_image(case.images)
    alone = [
        ModelScorer(replace(bundle, weights=weights, members=1, cascade=None, presence={}))
        .score(image)
        .presence[REGION]
        for weights in first
    ]
    told = ModelScorer(replace(bundle, presence={})).score(image).presence[REGION]
    assert told == pytest.approx(np.mean(alone), rel=1e-6)


def test_a_point_by_hand_keeps_its_gate_in_the_bundle(run):
    (choice,) = tune_source(NetworkSource.open(run), Rule.by_hand(0.5, gate=0.125)).values()
    point = load_decisions(run / "bundle").points[REGION]
    assert (point, point.gate) == (choice.found, 0.125)
    assert load_model(run / "bundle").tells_presence
