"""What a run's scores mean, and what an alarm is worth where its model will work."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.decision.calibration.prevalence import estimate_prevalence
from rareseg.decision.guarantees.guarantee import Certificate, make_guarantee
from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
from rareseg.errors import BundleError, DataError, OutputError, UsageError
from rareseg.evaluation.statistics.undefined import Undefined, format_value
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.recipe import make_recipe, merge
from rareseg.recipe.loss_sections import RecordedLossSection
from rareseg.run.calibrate import calibrate
from rareseg.run.predict import predict
from rareseg.run.scores.network_source import NetworkSource
from rareseg.training.losses import losses


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, free to be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """8 plates that the run has not seen, a quarter of them positive."""
    easy = SpecksSettings(
        images=8,
        size=64,
        contrast=8.0,
        foreground_share=0.06,
        distractors=1,
        empty_share=0.75,
        seed=9,
    )
    return write_specks(tmp_path_factory.mktemp("plates") / "data", easy) / "images"


def region_of(run):
    return next(iter(load_model(run / "bundle").classes.regions))


def test_the_calibration_travels_in_the_bundle_and_changes_no_decision(run):
    before = load_decisions(run / "bundle")
    said = []
    found = calibrate(run, say=said.append)[region_of(run)]
    after = load_decisions(run / "bundle")
    assert after.calibration[region_of(run)].to_dict() == found.calibration.to_dict()
    assert (after.points, after.statements, after.spent) == (
        before.points,
        before.statements,
        before.spent,
    )
    assert found.calibration.log_loss <= found.calibration.log_loss_before
    assert found.predictive is None
    assert "log-loss" in said[0]
    assert "calibration error" in said[0]
    # The planned loss has a dice term.
    assert "prior cannot be undone under the loss" in said[0]
    assert "is a probability of" in said[1]
    written = json.loads((run / "calibration.json").read_text())
    assert written[region_of(run)]["sentences"] == said


def test_calibrated_probabilities_are_written_and_the_masks_stay(run, plates, tmp_path):
    with pytest.raises(DataError, match=r"never calibrated for .*call `rareseg calibrate"):
        predict(run, plates, tmp_path / "early", probabilities=True, calibrated=True)
    assert not (tmp_path / "early").exists()
    calibrate(run)
    raw, shown = tmp_path / "raw", tmp_path / "shown"
    predict(run, plates, raw, probabilities=True)
    predict(run, plates, shown, probabilities=True, calibrated=True)
    region = region_of(run)
    calibration = load_decisions(run / "bundle").calibration[region]
    for path in sorted((raw / "probabilities" / region).iterdir()):
        name = path.name
        a, b = (
            np.asarray(PIL.Image.open(folder / "probabilities" / region / name)).astype(float)
            / 65535
            for folder in (raw, shown)
        )
        tolerance = 2 / 65535 * max(1.0, np.exp(abs(calibration.bias)) * calibration.slope)
        np.testing.assert_allclose(calibration.apply(a)[a > 1e-3], b[a > 1e-3], atol=4 * tolerance)
        assert (raw / region / name).read_bytes() == (shown / region / name).read_bytes()
    with pytest.raises(OutputError, match="calibrated otherwise"):
        predict(run, plates, raw, probabilities=True, calibrated=True)
    with pytest.raises(UsageError, match="--calibrated says what --probabilities writes"):
        predict(run, plates, tmp_path / "other", calibrated=True)


def test_a_stated_prevalence_gives_a_predictive_value_by_bayes(run):
    found = calibrate(run, prevalence=0.02)[region_of(run)]
    assert (found.prevalence, found.source, found.role) == (0.02, "stated", "test")
    predictive = found.predictive
    s, f = predictive.sensitivity.value, predictive.false_alarm_rate.value
    # The test cases' own masks, as the report counted them.
    lines = json.loads((run / "scorecard.json").read_text())["scorecards"]["at the chosen point"]
    (card,) = [part for part in lines["regions"] if part["region"] == region_of(run)]
    assert f == pytest.approx(card["negatives"]["false_alarm_rate"]["value"])
    if s or f:
        assert predictive.positive == pytest.approx(s * 0.02 / (s * 0.02 + f * 0.98))
        low, high = predictive.positive_interval
        assert low <= predictive.positive <= high
    assert any("prevalence 0.020 (stated)" in line for line in found.sentences)
    assert any("95 % interval" in line or "undefined" in line for line in found.sentences)


def test_a_prevalence_is_estimated_from_unlabelled_images(run, plates):
    region, validation = region_of(run), run / "scores" / "validation.npz"
    tops = sorted(_tops_of(run, plates))
    rows = load_table(validation).rows
    kinds = {own: next(row for row in rows if (row.n_inside > 0) == own) for own in (True, False)}
    # Positive cases score as the upper half of the plates, negative ones as the lower half.
    table = ScoreTable(
        tuple(
            replace(kinds[own], case_id=f"c{i}{own}", group=f"g{i}{own}", top=tops[4 * own + i % 4])
            for own in kinds
            for i in range(40)
        )
    )
    save_table(table, validation)
    found = calibrate(run, unlabelled=plates)[region]
    assert found.source == "estimated from 8 unlabelled images"
    expected = estimate_prevalence(
        load_table(validation),
        tops,
        region=region,
        generator=np.random.default_rng(0),
        confidence=0.975,
    )
    assert found.prevalence == pytest.approx(expected.value) == pytest.approx(0.5)
    assert json.loads((run / "calibration.json").read_text())[region]["prevalence"] == 0.5
    low, high = (format_value(end) for end in (expected.low, expected.high))
    assert any(f"interval {low} to {high}" in line for line in found.sentences)
    assert found.calibration.prevalence == found.predictive.prevalence == found.prevalence


def test_a_prevalence_that_cannot_be_estimated_is_told_with_the_reason(run, plates):
    region, validation = region_of(run), run / "scores" / "validation.npz"
    table = load_table(validation)
    save_table(table.select(case_ids=[row.case_id for row in table if row.n_inside]), validation)
    found = calibrate(run, unlabelled=plates)[region]
    assert found.prevalence == Undefined("there is no negative case")
    assert found.predictive is None
    assert found.calibration.prevalence is None
    said = "the prevalence cannot be estimated from 8 unlabelled images: there is no negative case"
    assert any(said in line for line in found.sentences)
    record = json.loads((run / "calibration.json").read_text())[region]
    assert record["prevalence"] == {"undefined": "there is no negative case"}


def _tops_of(run, images):
    """The largest 16-bit scores that `predict` writes, which are the scores to 1 part in 65535."""
    out = run.parent / "tops"
    predict(run, images, out, probabilities=True)
    paths = sorted((out / "probabilities" / region_of(run)).iterdir())
    return [float(np.asarray(PIL.Image.open(path)).max()) / 65535 for path in paths]


def test_a_guarantee_on_false_discoveries_is_void_at_another_prevalence(run):
    region = region_of(run)
    point = load_decisions(run / "bundle").points[region]
    guarantee = make_guarantee("false discovery proportion", 0.5, confidence=0.9)
    statement = Certificate(
        region=region,
        guarantee=guarantee,
        threshold=point.threshold,
        gate=point.gate,
        smallest_component=point.smallest_component,
        value=0.1,
        n_groups=50,
        n_cases=50,
        role="certify",
        method="Learn then Test",
        cases="digest",
        arithmetic={},
        assumes_independent_images=False,
    )
    decisions = load_decisions(run / "bundle")
    decisions.guarantee({region: GuaranteedPoint(point, statement)}, {}).save(run / "bundle")
    assert not any("void" in line for line in calibrate(run)[region].sentences)
    found = calibrate(run, prevalence=0.1)[region]
    assert any("void at another" in line for line in found.sentences)


def test_the_samplers_prior_is_a_candidate_under_proper_losses_alone(run):
    source = NetworkSource.open(run)
    model, region = source.model, region_of(run)
    prior, why = source.sampled_prior(region)
    assert prior is None
    assert model.recipe.loss.name in why

    def under(**loss):
        values = merge(model.recipe.model_dump(), {"loss": loss})
        return replace(model, recipe=make_recipe(values))

    def sampled_prior(changed):
        return replace(source, model=changed).sampled_prior(region)

    prior, why = sampled_prior(under(name="cross_entropy"))
    shown = model.training.delivered.voxels
    assert (prior, why) == (pytest.approx(shown[1] / sum(shown)), "")
    weighted, _ = sampled_prior(under(name="cross_entropy", class_weights=[1.0, 3.0]))
    assert weighted == pytest.approx(3 * shown[1] / (shown[0] + 3 * shown[1]))
    pasted = make_recipe(
        merge(under(name="cross_entropy").recipe.model_dump(), {"augmentation": {"paste": 0.1}})
    )
    prior, why = sampled_prior(replace(model, recipe=pasted))
    assert prior is None
    assert "where objects were pasted" in why
    for name in (name for name, spec in losses().items() if not spec.proper):
        prior, why = sampled_prior(under(name=name))
        assert prior is None
        assert f"under the loss {name}" in why
    mine = model.recipe.model_copy(update={"loss": RecordedLossSection(name="mine")})
    assert sampled_prior(replace(model, recipe=mine))[0] is None
    unknown = under(name="cross_entropy")
    unknown = replace(unknown, training=replace(unknown.training, delivered=None))
    assert sampled_prior(unknown)[0] is None


def test_a_fit_to_single_networks_says_so(run):
    source, region = NetworkSource.open(run), region_of(run)
    assert "the model averages" not in source.sampled_prior(region)[1]
    several = replace(source, model=replace(source.model, members=3))
    assert "the model averages 3" in several.sampled_prior(region)[1]


def test_impossible_calls(run, plates):
    with pytest.raises(UsageError, match="give one of the two"):
        calibrate(run, prevalence=0.1, unlabelled=plates)
    with pytest.raises(UsageError, match=r"--prevalence is 1\.5"):
        calibrate(run, prevalence=1.5)
    with pytest.raises(UsageError, match="not a region"):
        calibrate(run, region="foregrund")
    with pytest.raises(DataError, match="does not exist"):
        calibrate(run, unlabelled=plates / "absent")


def test_a_damaged_calibration_is_refused(run):
    calibrate(run)
    path = run / "bundle" / "decisions.json"
    content = json.loads(path.read_text())
    content["regions"][region_of(run)]["calibration"] = {"slope": 0}
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="is damaged"):
        load_decisions(run / "bundle")
