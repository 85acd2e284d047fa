"""Cross-validation: what was learnt from is scored by the one network that had not seen it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from rareseg.data.store.case_labels import read_labels
from rareseg.decision.guarantees.guarantee import EstimatedGuarantee, make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.evaluation.tables.score_table import score_regions
from rareseg.evaluation.tables.score_table_io import load_table
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import split_members
from rareseg.prediction.scorer import ModelScorer
from rareseg.run.certify import certify
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_folds, read_split
from rareseg_runner.formats import read_image


@pytest.fixture(scope="module")
def crossed(specks, call, settings, tmp_path_factory):
    """A run of three folds."""
    run = tmp_path_factory.mktemp("crossed") / "run"
    called = call("train", specks, "--out", run, "--folds", "3", *settings(training__steps=40))
    assert called.code == 0, called.err
    return run


def test_every_case_that_is_learnt_from_has_one_fold_and_groups_are_whole(crossed):
    roles, folds = read_split(crossed / "split.csv"), read_folds(crossed / "folds.csv")
    assert set(roles.values()) == {"train", "test"}
    assert set(folds) == {case for case, role in roles.items() if role == "train"}
    assert sorted(set(folds.values())) == [0, 1, 2]
    group = {case.id: case.group for case in cases_of(open_run(crossed), "train")}
    where = {}
    for case, fold in folds.items():
        assert where.setdefault(group[case] or case, fold) == fold


def test_out_of_fold_scores_are_those_of_the_network_that_had_not_seen_the_case(crossed):
    folder = open_run(crossed)
    bundle, folds = load_model(folder.bundle), read_folds(folder.folds)
    assert bundle.members == len(split_members(bundle)) == 3
    table = load_table(folder.scores("out-of-fold"))
    assert {row.case_id for row in table} == set(folds)
    scorer = ModelScorer(bundle)
    members = [ModelScorer(bundle.member(number)) for number in range(3)]
    for case in cases_of(folder, "train")[::4]:
        image = read_image(case.images)
        alone = score_regions(
            members[folds[case.id]].probabilities(image),
            read_labels(case, bundle.classes, image),
            bundle.classes,
            case_id=case.id,
            group=case.group,
            role="out-of-fold",
            spacing=image.geometry.spacing,
        )
        stored = [row for row in table if row.case_id == case.id]
        assert list(alone) == stored
        # The bundle averages all three.
        parts = [member.probabilities(image) for member in members]
        mean = np.mean(parts, axis=0)
        np.testing.assert_allclose(scorer.probabilities(image), mean, atol=1e-6)
        assert not np.allclose(parts[0], parts[1])


def test_points_are_chosen_out_of_fold_and_guarantees_are_estimates(crossed, call):
    record = json.loads(call("tune", crossed, "--json").out)["foreground"]["found"]
    learnt = read_folds(crossed / "folds.csv")
    assert record["role"] == "out-of-fold"
    assert record["n_positive"] + record["n_negative"] == len(learnt)
    assert record == load_decisions(crossed / "bundle").points["foreground"].to_dict()
    said = call("tune", crossed).out
    assert "positive, " in said
    assert "out-of-fold cases" in said
    guarantee = make_guarantee("false negative rate", 0.6, confidence=None)
    [kept] = certify(crossed, guarantee).values()
    assert isinstance(kept, GuaranteedPoint)
    assert type(kept.statement) is EstimatedGuarantee
    assert "not by the mean of all" in kept.statement.method


def test_test_cases_are_scored_by_all_networks_together(crossed, specks, call, tmp_path):
    with (crossed / "cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    roles = read_split(crossed / "split.csv")
    assert {row["case"] for row in rows} == {c for c, role in roles.items() if role == "test"}
    page = (crossed / "report.html").read_text(encoding="utf-8")
    assert "all folds of these cases but one" in page


def test_a_second_call_changes_nothing(crossed, specks, call, settings):
    before = {p: p.read_bytes() for p in (crossed / "bundle").iterdir()}
    called = call("train", specks, "--out", crossed, "--folds", "3", *settings(training__steps=40))
    assert called.code == 0, called.err
    weights = crossed / "bundle" / "weights.safetensors"
    assert weights.read_bytes() == before[weights]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--folds", "1"), "folds"),
        (("--folds", "60"), "groups"),
        (("--folds", "3", "--set", "training.validations=4"), "training.validations"),
    ],
)
def test_folds_that_cannot_be_are_refused(options, word, specks, call, settings, tmp_path):
    called = call("train", specks, "--out", tmp_path / "run", *settings(), *options)
    assert called.code in (1, 2)
    assert word in called.err
    assert "Traceback" not in called.err
