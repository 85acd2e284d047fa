"""Networks that each leave out several folds: a case is scored by the mean of those blind to it."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.store.case_labels import read_labels
from rareseg.decision.guarantees.guarantee import EstimatedGuarantee, make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.errors import RecipeError
from rareseg.evaluation.metrics.overlap import counts_at
from rareseg.evaluation.tables.component_table_io import load_components
from rareseg.evaluation.tables.score_table import score_regions
from rareseg.evaluation.tables.score_table_io import load_table
from rareseg.evaluation.tables.threshold_bins import bin_edges, bin_of
from rareseg.prediction.bundle import load_model
from rareseg.prediction.model import split_members
from rareseg.prediction.scorer import ModelScorer
from rareseg.recipe import make_recipe
from rareseg.review.case_predictions import CasePredictions
from rareseg.run.certify import certify
from rareseg.run.setup.network_folds import Folds
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.prepare import TrainingOptions, prepare_run
from rareseg.run.setup.run_folder import DataOptions, open_run
from rareseg.run.setup.split_files import read_folds
from rareseg.run.suspects import find_suspects, plan_scorers
from rareseg.run.train import scorings
from rareseg_runner.formats import read_image

REGION = "foreground"
K, M = 4, 2


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """20 small plates, each photographed twice, half of them empty."""
    easy = SpecksSettings(
        images=40,
        size=64,
        contrast=8.0,
        foreground_share=0.06,
        distractors=1,
        pictures_per_plate=2,
        seed=2,
    )
    return write_specks(tmp_path_factory.mktemp("pairs") / "data", easy)


@pytest.fixture(scope="module")
def asked(tell):
    """The settings of four networks that leave out two folds each, and tell the presence."""
    return tell(training__steps=40, split__folds=K, split__held_out=M)


@pytest.fixture(scope="module")
def run(pairs, call, asked, tmp_path_factory):
    """A run of them; tests that change it take a copy."""
    run = tmp_path_factory.mktemp("held_out") / "run"
    called = call("train", pairs, "--out", run, *asked)
    assert called.code == 0, called.err
    assert f"{K} folds of the train cases, one network each, which leaves {M} of them out" in (
        called.out + called.err
    )
    return run


@pytest.fixture(scope="module")
def prepared(run, pairs):
    """The run, taken up again: what each network learns from is asked of it, not of the rule."""
    return prepare_run(DataOptions(str(pairs)), run, TrainingOptions())


@pytest.fixture(scope="module")
def blind(prepared):
    """For each case the networks whose training data do not hold it."""
    inputs = prepared.job_inputs()
    learnt = [set(of_one.train.cases.ids) for of_one in inputs]
    for of_one, own in zip(inputs, learnt, strict=True):
        assert {case.id for case in of_one.unseen} == set(prepared.folds.fold_of) - own
        assert set(of_one.validate.cases.ids) == {case.id for case in of_one.unseen}
    return {
        case: [number for number, own in enumerate(learnt) if case not in own]
        for case in prepared.folds.fold_of
    }


@pytest.fixture(scope="module")
def alone(run):
    """What each network says by itself of every third case: (case, probabilities, presences)."""
    folder = open_run(run)
    model = replace(load_model(folder.bundle), presence={})
    scorers = [ModelScorer(model.member(number)) for number in range(K)]
    found = []
    for case in cases_of(folder, "train")[::3]:
        image = read_image(case.images)
        scores = [scorer.score(image) for scorer in scorers]
        said = [each.presence[REGION] for each in scores]
        found.append((case, image, [each.probabilities for each in scores], said))
    return found


def test_each_case_is_left_out_by_two_networks_and_each_group_as_a_whole(run, blind):
    folds = read_folds(run / "folds.csv")
    assert set(map(len, blind.values())) == {M}
    group = {case.id: case.group for case in cases_of(open_run(run), "train")}
    by_group = {}
    for case, networks in blind.items():
        assert by_group.setdefault(group[case], networks) == networks
    assert len(by_group) == len(blind) / 2
    assert {tuple(networks) for networks in blind.values()} == {(0, 1), (1, 2), (2, 3), (0, 3)}
    assert all(
        len({tuple(blind[c]) for c, f in folds.items() if f == fold}) == 1 for fold in range(K)
    )


def mean_in_log_odds(scores):
    """Return σ(mean of logit p), as float64."""
    return expit(np.mean([logit(np.asarray(p, np.float64)) for p in scores], axis=0))


def test_the_table_is_the_mean_of_the_networks_that_had_not_seen_the_case(run, blind, alone):
    folder = open_run(run)
    model = load_model(folder.bundle)
    assert model.recipe.prediction.mean_of == "log_odds"
    scaling = model.presence[REGION]
    assert scaling.reason == ""
    assert (scaling.slope, scaling.bias) != (1.0, 0.0)
    rows = {row.case_id: row for row in load_table(folder.scores("out-of-fold"))}
    assert set(rows) == set(blind)
    for case, image, probabilities, said in alone:
        networks, row = blind[case.id], rows[case.id]
        by_hand = mean_in_log_odds([probabilities[k][1] for k in networks])
        assert row.top == pytest.approx(by_hand.max(), rel=1e-4)
        for threshold in (0.1, 0.5, 0.9):
            edge = bin_edges()[bin_of(threshold)]
            on = counts_at(row, float(edge))
            assert on.tp + on.fp == pytest.approx((by_hand >= edge).sum(), abs=1)
        presence = mean_in_log_odds([said[k] for k in networks])
        assert row.presence == pytest.approx(scaling.apply(presence), rel=1e-4)
        networks_together = ModelScorer(model.mean_of(networks)).score(image)
        stored = score_regions(
            networks_together.probabilities,
            read_labels(case, model.classes, image),
            model.classes,
            case_id=case.id,
            group=case.group,
            role="out-of-fold",
            spacing=image.geometry.spacing,
            presence=networks_together.presence,
        )
        assert list(stored) == [row]
    assert [row.presence for row in load_components(folder.components("out-of-fold"))] == [
        row.presence for row in rows.values()
    ]


def test_the_model_averages_all_networks_as_the_table_averages_two(run, alone):
    model = load_model(run / "bundle")
    assert model.members == len(split_members(model)) == K
    scaling, scorer = model.presence[REGION], ModelScorer(model)
    apart = 0.0
    for _, image, probabilities, said in alone[:4]:
        told = scorer.score(image)
        mean = mean_in_log_odds(probabilities)
        np.testing.assert_allclose(told.probabilities, mean, atol=1e-5)
        assert told.presence[REGION] == pytest.approx(
            scaling.apply(mean_in_log_odds(said)), rel=1e-4
        )
        apart = max(apart, np.abs(mean - np.mean(probabilities, axis=0)).max())
    assert apart > 1e-2, "a mean of probabilities would say something else"


def test_points_are_chosen_on_that_table(run):
    with (run / "split.csv").open(encoding="utf-8") as file:
        learnt = [line["id"] for line in csv.DictReader(file) if line["role"] == "train"]
    assert {row.case_id for row in load_table(run / "scores" / "out-of-fold.npz")} == set(learnt)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "all folds of these cases but 2" in page
    card = (run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "the mean scores of the 2 networks that had not seen a case" in card


def test_what_it_promises_is_an_estimate(run, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    guarantee = make_guarantee("false alarm rate", 0.6, confidence=0.8)
    [kept] = certify(copied, guarantee).values()
    assert isinstance(kept, GuaranteedPoint)
    assert type(kept.statement) is EstimatedGuarantee
    assert "by the networks that had not seen it, not by the mean of all" in kept.statement.method


def test_it_goes_on_where_it_stopped(run, pairs, call, asked, tmp_path):
    """As a run that was killed while its last network learned."""
    again = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(again / "bundle")
    shutil.rmtree(again / "training" / f"fold_{K - 1}")
    (again / "scores" / "out-of-fold.npz").unlink()
    called = call("train", pairs, "--out", again, *asked)
    assert called.code == 0, called.err
    new, old = load_model(again / "bundle"), load_model(run / "bundle")
    assert new.presence == old.presence
    assert all(torch.equal(new.weights[name], tensor) for name, tensor in old.weights.items())
    assert load_table(again / "scores" / "out-of-fold.npz") == load_table(
        run / "scores" / "out-of-fold.npz"
    )


def test_a_run_goes_on_with_its_own_number(run, pairs, call, tell, tmp_path):
    again = shutil.copytree(run, tmp_path / "run")
    other = tell(training__steps=40, split__folds=K, split__held_out=1)
    called = call("train", pairs, "--out", again, *other)
    assert called.code == 1
    assert "split.held_out" in called.err


def test_suspects_and_review_look_with_the_same_networks(run, prepared, blind, alone, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    found = find_suspects(copied)
    assert f"each by the {M} of {K} networks that had not seen it" in found.scope
    model = load_model(run / "bundle")
    networks = split_members(model)
    for looker, cases in plan_scorers(open_run(run), prepared.dataset, model).values():
        for case in cases:
            wanted = [networks[k] for k in blind.get(case.id, range(K))]
            assert all(
                torch.equal(tensor, own[name])
                for own, other in zip(split_members(looker), wanted, strict=True)
                for name, tensor in other.items()
            )
    predictions = CasePredictions(open_run(copied), tmp_path / "review")
    case, image, probabilities, _ = alone[0]
    scorer = predictions._scorer(predictions.folds.fold_of[case.id])
    mean = mean_in_log_odds([probabilities[k] for k in blind[case.id]])
    np.testing.assert_allclose(scorer.probabilities(image), mean, atol=1e-5)
    assert predictions.by(case.id) == f"the mean of {M} networks, which had not seen this case"


def test_the_budget_counts_every_scoring(prepared):
    learnt, tested = len(prepared.folds.fold_of), len(prepared.cases("test"))
    once = replace(prepared, folds=replace(prepared.folds, held_out=1))
    assert scorings(prepared) - scorings(once) == (M - 1) * learnt
    assert scorings(once) == learnt + K * (tested + 48)


@pytest.mark.parametrize(
    ("settings", "mean_of"),
    [
        (["split.folds=3"], "probabilities"),
        (["split.folds=3", "split.held_out=2"], "log_odds"),
        (["split.folds=3", "prediction.mean_of=log_odds"], "log_odds"),
        (
            ["split.folds=3", "split.held_out=2", "prediction.mean_of=probabilities"],
            "probabilities",
        ),
    ],
)
def test_log_odds_are_averaged_where_a_point_is_carried_over(settings, mean_of, pairs, tmp_path):
    out = tmp_path / "run"
    begun = prepare_run(DataOptions(str(pairs)), out, TrainingOptions(settings=settings))
    assert begun.recipe.prediction.mean_of == mean_of
    reason = begun.plan.reasons.get("prediction.mean_of", "")
    planned = mean_of == "log_odds" and len(settings) == 2 and "held_out" in settings[1]
    assert ("means of 2 networks" in reason) == planned


@pytest.mark.parametrize(("count", "held_out"), [(3, 1), (3, 2), (5, 2), (5, 4), (7, 3)])
def test_every_fold_is_left_out_as_often_as_said(count, held_out):
    folds = Folds({f"case {i}": i % count for i in range(2 * count)}, held_out)
    assert folds.count == count
    for network in range(count):
        seen, unseen = folds.seen_by(network), folds.unseen_by(network)
        assert len(seen) == 2 * (count - held_out)
        assert sorted([*seen, *unseen]) == sorted(folds.fold_of)
    for case, fold in folds.fold_of.items():
        networks = folds.blind_to(fold)
        assert len(networks) == len(set(networks)) == held_out
        assert list(networks) == [k for k in range(count) if folds.leaves_out(k, case)]
    assert not folds.leaves_out(0, "of another role")


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"held_out": 2}, r"held_out is 2, but there are no folds.*folds=3"),
        ({"folds": 2, "held_out": 2}, r"held_out is 2, but of 2 folds.*folds=3"),
        ({"folds": 5, "held_out": 7}, r"held_out is 7, but of 5 folds.*folds=8"),
        ({"folds": 5, "held_out": 0}, r"held_out"),
    ],
)
def test_numbers_that_leave_nothing_to_learn_from_are_refused(split, words):
    with pytest.raises(RecipeError, match=words):
        make_recipe({"split": split})


def test_a_recipe_of_before_leaves_out_one_fold():
    assert make_recipe({"split": {"folds": 2}}).split.held_out == 1
