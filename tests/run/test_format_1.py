"""A run that an earlier release wrote (format 1) is used as if it were new."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import rareseg
from rareseg.decision.guarantees.guarantee import Certificate
from rareseg.decision.operating_point import Frontier, Infeasible, OperatingPoint, PointChoice
from rareseg.errors import BundleError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.run.outputs.guarantee_text import statement_lines
from rareseg.run.predict import predict
from rareseg_runner.bundle_archive import DECISIONS

MADE = Path(__file__).with_name("format_1")
"""Trained (150 steps), tuned, certified, calibrated and predicted by commit 083f664."""


@pytest.fixture
def run(tmp_path) -> Path:
    return shutil.copytree(MADE / "run", tmp_path / "run")


@pytest.mark.parametrize("part", ["", "bundle"])
def test_it_predicts_the_same_masks(run, tmp_path, part):
    said = []
    written = predict(run / part, MADE / "images", tmp_path / "out", say=said.append)
    assert len(written) == 4
    for path in sorted(MADE.glob("masks/**/*.png")):
        new = tmp_path / "out" / path.relative_to(MADE / "masks")
        assert np.array_equal(np.asarray(PIL.Image.open(new)), np.asarray(PIL.Image.open(path)))
    assert any(line.startswith("certificate for foreground") for line in said)


def test_points_certificates_and_calibration_are_those_that_it_had(run):
    content = json.loads((run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    decision = load_decisions(run / "bundle").regions["foreground"]
    assert decision.point == OperatingPoint.from_dict(content["points"]["foreground"])
    (certificate,) = decision.statements
    assert isinstance(certificate, Certificate)
    assert dict(decision.spent) == content["spent"]["foreground"]
    assert decision.calibration.to_dict() == content["calibration"]["foreground"]
    model = load_model(run / "bundle")
    assert certificate.arithmetic == model.arithmetic("cpu")
    assert model.training.steps == 150
    assert model.training.validation_score == content["trained"]["select_score"]
    assert model.training.delivered.patches == 4800


def test_what_is_decided_anew_stands_beside_it(run):
    before = (run / "bundle" / "bundle.json").read_bytes()
    decisions = load_decisions(run / "bundle")
    point = OperatingPoint("foreground", 0.75)
    decisions.choose({"foreground": PointChoice(point, Frontier())}).save(run / "bundle")
    again = load_decisions(run / "bundle")
    assert again.points == {"foreground": point}
    assert again.statements == decisions.statements
    assert statement_lines(again, load_model(run / "bundle").arithmetic("cpu")) == {}
    assert (run / "bundle" / "bundle.json").read_bytes() == before
    (run / "bundle" / DECISIONS).write_text('{"format": 2}')
    with pytest.raises(BundleError, match=r"decisions\.json is damaged"):
        load_decisions(run / "bundle")


def test_the_reason_for_no_point_is_read_from_where_it_stood(run):
    path = run / "bundle" / "bundle.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "points": {}}), encoding="utf-8")
    assert load_decisions(run / "bundle").found["foreground"].reason == "it was never tuned"
    why = {"foreground": {"found": {"infeasible": "no validation case holds it"}, "frontier": []}}
    (run / "decision.json").write_text(json.dumps(why), encoding="utf-8")
    found = load_decisions(run / "bundle").found["foreground"]
    assert found == Infeasible("foreground", "no validation case holds it")
    (run / "decision.json").write_text('{"foreground": 3}', encoding="utf-8")
    with pytest.raises(BundleError, match="is damaged"):
        load_decisions(run / "bundle")


def test_the_names_of_earlier_releases_stay_and_warn(run):
    with pytest.warns(DeprecationWarning, match=r"use rareseg\.load"):
        bundle = rareseg.load_bundle(run / "bundle")
    with pytest.warns(DeprecationWarning, match="call what it returns"):
        predictor = rareseg.Predictor(bundle)
    path = sorted((MADE / "images").iterdir())[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rareseg.load(run)(path)
    old = predictor.region_scores(found.image)["foreground"]
    assert np.array_equal(old[0], found.scores["foreground"])
    assert bundle.points["foreground"] == load_decisions(run / "bundle").points["foreground"]
    assert bundle.trained["steps"] == 150
