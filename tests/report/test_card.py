"""What a model card says of models that the small run of the other tests is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.look_alikes import LookAlike
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import Frontier, OperatingPoint, PointChoice
from rareseg.prediction.model import Model
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.weights_origin import WeightsOrigin
from rareseg.recipe import make_recipe
from rareseg.report.model_card import CardContent, CardFigures, model_card
from rareseg.report.report_content import Sentence
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing
from rareseg_runner.scoring.cascade_model import Cascade

CLASSES = Classes(("background", "edge|rim", "core"), (0, 1, 4), {"whole": (1, 2), "core": (2,)})
RECIPE = make_recipe(
    {
        "network": {"name": "unet", "width": [4, 8]},
        "data": {"dimension": 3, "target_spacing": [3.0, 1.5, 1.5]},
        "sampling": {"patch_size": [8, 16, 16]},
        "prediction": {"tile": [16, 32, 32], "mirror": True},
    }
)
TRAINING = TrainingFacts(1000, 750, "d1", files_per_case=2, finished="day")


def case(number: int, core: int, **other) -> CaseFacts:
    facts = CaseFacts(
        id=f"patient-{number}-scan",
        group=f"patient-{number}",
        role=None,
        shape=(20 + number, 64, 64),
        spacing=(3.0, 1.0, 1.0),
        dimension=3,
        channels=2,
        dtype="int16",
        voxels=(1000, 50, core),
        ignored=0,
        intensities=(ChannelFacts(0.0, 1.0, 2.0, 1.0, 0.5),) * 2,
        thumbnail_hash="0",
    )
    return replace(facts, **other)


@pytest.fixture
def content() -> CardContent:
    """Eight volumes: five learned from, of which two hold the core; two choose, one tests."""
    cases = tuple(case(number, 9 * (number % 3 == 0)) for number in range(8))
    roles = dict(
        zip((c.id for c in cases), ["train"] * 5 + ["validation"] * 2 + ["test"], strict=True)
    )
    model = Model(
        recipe=RECIPE,
        classes=CLASSES,
        channels=2,
        preprocessing=Preprocessing(
            dimension=3,
            target_spacing=(3.0, 1.5, 1.5),
            method="dataset",
            clip=((-100.0, 200.0), (0.0, 5.5)),
            mean=(10.5, 1.0),
            std=(20.0, 0.25),
        ),
        precision="bf16",
        weights={"a": torch.zeros(3, 4), "b": torch.zeros(5)},
        training=TRAINING,
        digest="w1",
    )
    point = OperatingPoint("core", 0.5, objective="set by hand")
    decisions = Decisions.none(CLASSES.regions).choose({"core": PointChoice(point, Frontier())})
    return CardContent(model, decisions, Fingerprint(cases, CLASSES, (), (), (), "d1"), roles)


def trained(content: CardContent, **changes: object) -> CardContent:
    training = replace(content.model.training, **changes)
    return replace(content, model=replace(content.model, training=training))


def test_volumes_and_their_regions(content):
    card = model_card(content)
    assert card.startswith("# Model card: segmentation of edge|rim, core\n")
    assert "each voxel" in card
    assert "background (0), edge|rim (1), core (4)" in card
    assert "whole = edge|rim + core; core = core" in card
    assert "17 numbers in weights.safetensors, SHA-256 w1" in card
    assert "1,000 steps, of which the weights of step 750 were kept" in card
    assert "| train | 5 | 5 | 5 | 2 |" in card
    assert "5 volumes of 5 groups, 20–24 x 64 x 64 voxels, spacing 3 x 1 x 1 mm" in card
    assert "- core was learned from only 2 positive cases." in card
    assert "- core: on where the score is at or above 0.5; set by hand." in card
    assert "- whole: no operating point: it was never tuned." in card


def test_the_input_that_it_expects(content):
    card = model_card(content)
    assert "volumes with 2 channels in 2 files, in the order of training, number type int16" in card
    assert "taken as volumes" in card
    assert "resampled to a spacing of 3 x 1.5 x 1.5 (z, y, x; mm" in card
    assert (
        "channels limited to -100 to 200, 0 to 5.5; then channels less 10.5, 1, over 20, 0.25"
        in card
    )
    assert "precision bf16, windows of 16 x 32 x 32 that overlap by 0.5, averaged over mirr" in card


def test_a_slower_encoder_and_an_average_are_told(content):
    card = model_card(content)
    assert "the weights of step 750 were kept, as their running average" in card
    assert "learning rate 0.001; seed" in card
    training = {"encoder_rate": 0.3, "average": 0}
    recipe = make_recipe({"network": {"name": "unet"}, "training": training})
    card = model_card(replace(content, model=replace(content.model, recipe=recipe)))
    assert "the weights of step 750 were kept; batches" in card
    assert "learning rate 0.001, 0.3 of it in the encoder; seed" in card


def test_several_networks(content):
    model = replace(content.model, members=3)
    folds = model_card(replace(content, model=model, in_folds=True))
    assert "the mean of 3 networks, each unet (" in folds
    assert "Each network learnt from all folds of these cases but one" in folds
    cascade = Cascade(2, 0.1, 3, {"train": 0.9}, {"train": 0.2})
    stages = model_card(replace(content, model=replace(model, cascade=cascade)))
    assert "two stages, 2 networks and then one, each unet (" in stages


@pytest.mark.parametrize("path", ["/home/somebody/work/best.pt", r"C:\Users\somebody\best.pt"])
def test_of_weights_in_a_file_only_the_file_is_named(content, path):
    origin = WeightsOrigin(path, "f1", taken=("a",), absent=("b",))
    card = model_card(trained(content, initial_weights=origin))
    assert (
        "- Network began with best.pt, licence not known: 1 of 2 tensors; file SHA-256 f1." in card
    )
    assert "somebody" not in card


def test_the_path_of_an_encoders_weights_is_no_setting_to_show(content):
    network = {"name": "encoder_unet", "encoder_weights": "/home/somebody/ssl.pt"}
    recipe = make_recipe({"network": network})
    model = replace(content.model, recipe=recipe)
    card = model_card(replace(content, model=model))
    assert "encoder_unet (encoder efficientnet_lite0, " in card
    assert "somebody" not in card
    assert "rareseg[encoders]" not in card
    recipe = make_recipe({"network": {**network, "encoder": "convnext_tiny"}})
    model = replace(content.model, recipe=recipe)
    assert "pip install 'rareseg[encoders]'" in model_card(replace(content, model=model))


def test_nothing_measured_is_said(content):
    card = model_card(content)
    assert "Nothing was measured; `rareseg evaluate RUN DATA --out DIR`" in card
    assert "- core was not measured on cases that the model had not seen." in card
    no_test = {name: "train" if role == "test" else role for name, role in content.roles.items()}
    card = model_card(replace(content, roles=no_test))
    assert "None: no case of the data set was kept for testing." in card


def test_a_leak_and_unknown_groups_are_counted_and_not_named(content):
    cases = list(content.fingerprint.cases)
    cases[0] = replace(cases[0], group=None)
    cases[7] = replace(cases[7], group=cases[1].group)
    pair = LookAlike(cases[2].id, cases[6].id, 0.99, "shifted", copy=True, placement=None)
    fingerprint = replace(content.fingerprint, cases=tuple(cases), look_alikes=(pair,))
    card = model_card(replace(content, fingerprint=fingerprint))
    assert "1 group and 1 pair of near-duplicates lie in more than one role" in card
    assert "assume independent images: of 1 case the group is not known" in card
    assert "known of 7 of 8 cases" in card
    assert "patient-" not in card


def test_a_region_that_was_not_scored_is_said(content):
    figures = CardFigures((), "at the chosen point", (Sentence("bad", "Text.", "", "core"),))
    card = model_card(replace(content, figures=figures))
    assert "### core\n\nNothing was measured" in card
    assert "Text." not in card


def test_equal_content_gives_an_equal_card(content):
    assert model_card(content) == model_card(replace(content))
