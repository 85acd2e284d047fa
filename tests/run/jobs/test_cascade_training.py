"""Two stages from call to masks: the first out of fold, the second within what it found."""

from __future__ import annotations

import json
import shutil
from typing import Literal

import numpy as np
import PIL.Image
import pytest

from rareseg.data.store.store import open_store
from rareseg.prediction.bundle import load_model
from rareseg.prediction.scorer import ModelScorer, score_array
from rareseg.recipe import LOSS_SECTIONS, LossSection, make_recipe
from rareseg.recipe.loss_sections import FocalSection
from rareseg.run.jobs.cascade_training import first_recipe
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_split
from rareseg.training.log import read_table
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import IGNORE
from rareseg_runner.preprocessing.preprocess import network_input

TWO = {"training__steps": 120, "training__cascade": "{folds: 2, margin: 2, recall: 0.95}"}


@pytest.fixture(scope="module")
def staged(specks, call, settings, tmp_path_factory):
    run = tmp_path_factory.mktemp("staged") / "run"
    called = call("train", specks, "--out", run, *settings(**TWO))
    assert called.code == 0, called.err
    return run, called


def test_both_stages_take_as_many_steps_as_one_network_would(staged):
    run, _ = staged
    taken = [
        max(read_table(folder / "steps.csv")["step"])
        for folder in (
            run / "training" / "stage_1" / "fold_0",
            run / "training" / "stage_1" / "fold_1",
            run / "training" / "stage_2",
        )
    ]
    assert taken == [20, 20, 60]  # of 30, 30 and 60, logged every 20
    assert load_model(run / "bundle").members == 3


def test_the_second_stage_learns_what_the_first_one_finds_in_cases_it_has_not_seen(staged):
    """Every label of the second store, from the networks in the bundle."""
    run, _ = staged
    bundle, folder = load_model(run / "bundle"), open_run(run)
    cascade = bundle.cascade
    networks = ModelScorer(bundle).networks
    assert len(networks) == 3
    whole, within = open_store(folder.store), open_store(folder.stage(2) / "store")
    roles = read_split(folder.split)
    # Which case is in which fold is told by the folds' own validation: neither net saw its own.
    found_anything = 0
    for row, case in enumerate(whole.cases.ids):
        label, second = whole.label(row), within.label(row)
        if roles[case] == "test":
            assert (second == IGNORE).all()
            continue
        scores = [
            score_array(n, whole.values(row), bundle.recipe, device=ModelScorer(bundle).device,
                        precision=bundle.precision).probabilities[1]
            for n in networks[:2]
        ]  # fmt: skip
        masks = [cascade.found(s) for s in scores]
        if roles[case] == "validation":
            masks = [cascade.found((scores[0] + scores[1]) / np.float32(2))]
        expected = [np.where(mask, label, IGNORE) for mask in masks]
        assert any(np.array_equal(second, one) for one in expected)
        found_anything += int(masks[0].any())
    assert found_anything


def test_the_ceiling_is_the_share_of_foreground_that_is_found(staged):
    run, called = staged
    bundle, folder = load_model(run / "bundle"), open_run(run)
    whole, within = open_store(folder.store), open_store(folder.stage(2) / "store")
    roles = read_split(folder.split)
    for role in ("train", "validation"):
        rows = [row for row, case in enumerate(whole.cases.ids) if roles[case] == role]
        held = sum(int((whole.label(row) == 1).sum()) for row in rows)
        left = sum(int((within.label(row) == 1).sum()) for row in rows)
        kept = sum(int((within.label(row) != IGNORE).sum()) for row in rows)
        assert bundle.cascade.recalls[role] == pytest.approx(left / held)
        voxels = sum(whole.label(row).size for row in rows)
        assert bundle.cascade.kept[role] == pytest.approx(kept / voxels)
    assert bundle.cascade.recalls["train"] >= 0.95
    assert "no later step can find" in called.out
    assert "no later step can find" in (run / "report.html").read_text(encoding="utf-8")


def test_what_the_first_stage_left_out_scores_zero_and_masks_are_of_both(
    staged, specks, call, tmp_path
):
    run, _ = staged
    bundle, folder = load_model(run / "bundle"), open_run(run)
    scorer = ModelScorer(bundle)
    for case in cases_of(folder, "test")[:4]:
        image = read_image(case.images)
        array = network_input(image, bundle.preprocessing)
        one, two, second = (
            score_array(n, array, bundle.recipe, device=scorer.device, precision="32").probabilities
            for n in scorer.networks
        )
        first = (one + two) / np.float32(2)
        joined = scorer.probabilities(image)
        found = bundle.cascade.found(first[1])
        assert not joined[1][~found].any()
        np.testing.assert_allclose(joined[1][found], (first[1] * second[1])[found], atol=1e-6)
    called = call("predict", run, specks / "images", "--out", tmp_path / "masks")
    assert called.code == 0, called.err


def test_it_goes_on_where_it_stopped(staged, specks, call, settings, tmp_path):
    run, _ = staged
    weights = (run / "bundle" / "weights.safetensors").read_bytes()
    for remove in ("bundle", "training/stage_2", "training/stage_1/fold_1"):
        again = tmp_path / remove.replace("/", "-")
        shutil.copytree(run, again)
        shutil.rmtree(again / remove)
        shutil.rmtree(again / "bundle", ignore_errors=True)
        called = call("train", specks, "--out", again, *settings(**TWO))
        assert called.code == 0, called.err
        assert (again / "bundle" / "weights.safetensors").read_bytes() == weights


def test_calibration_does_not_undo_a_prior_that_nobody_drew(staged, call, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(staged[0], run)
    called = call("calibrate", run, "--json")
    assert called.code == 0, called.err
    assert "prior" not in json.loads(called.out)["foreground"].get("kind", "")


def test_the_first_stage_weighs_no_classes(monkeypatch):
    class Section(LossSection):
        name: Literal["mine"] = "mine"
        power: float = 2.0

    monkeypatch.setattr(LOSS_SECTIONS, "_members", dict(LOSS_SECTIONS._members))
    LOSS_SECTIONS.register(Section)
    cascade = {"cascade": {"folds": 2}}
    for given, left in (
        ({"name": "mine", "power": 3.0}, Section(power=3.0)),
        ({"name": "focal", "class_weights": [1, 2, 4]}, FocalSection()),
    ):
        recipe = make_recipe({"loss": given, "training": cascade})
        assert first_recipe(recipe).loss == left


def test_folds_of_two_kinds_are_refused(specks, call, settings, tmp_path):
    values = settings(**TWO, split__folds=3)
    called = call("train", specks, "--out", tmp_path / "run", *values)
    assert called.code == 2
    assert "training.cascade and split.folds" in called.err
    called = call("train", specks, "--out", tmp_path / "run", "--set", "training.cascade={fold: 3}")
    assert called.code == 2
    assert "did you mean 'folds'" in called.err


class TestSeveralClasses:
    """Discs with a bright heart: the first stage finds discs, the second tells heart from rim."""

    @pytest.fixture
    def discs(self, tmp_path):
        root = tmp_path / "discs"
        rng = np.random.default_rng(0)
        (root / "images").mkdir(parents=True)
        (root / "masks").mkdir()
        y, x = np.mgrid[:48, :48]
        for number in range(24):
            label = np.zeros((48, 48), np.uint8)
            if number % 3:
                distance = np.hypot(y - rng.uniform(12, 36), x - rng.uniform(12, 36))
                label[distance < 9] = 1
                label[distance < 5] = 2
            image = rng.normal(80, 6, label.shape) + 50 * (label > 0) + 50 * (label > 1)
            for folder, array in (("images", image), ("masks", label)):
                PIL.Image.fromarray(array.astype(np.uint8)).save(root / folder / f"d{number}.png")
        return root

    def test_the_second_stage_tells_classes_apart_and_nothing_else(
        self, discs, call, settings, tmp_path
    ):
        run = tmp_path / "run"
        called = call("train", discs, "--out", run, *settings(**TWO))
        assert called.code == 0, called.err
        bundle, folder = load_model(run / "bundle"), open_run(run)
        assert open_store(folder.stage(1) / "store").classes.count == 2
        second = open_store(folder.stage(2) / "store")
        assert set(np.unique(second.labels)) == {1, 2, IGNORE}
        scorer = ModelScorer(bundle)
        for case in cases_of(folder, "test"):
            scores = scorer.probabilities(read_image(case.images))
            assert scores.shape[0] == 3
            np.testing.assert_allclose(scores.sum(axis=0), 1.0, atol=1e-5)
        record = json.loads((run / "scorecard.json").read_text(encoding="utf-8"))
        assert {"foreground", "class_1", "class_2"} <= set(record["points"])
