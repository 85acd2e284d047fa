"""Advice is a reading of what was measured, and says where nothing like it was."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.training.advice import (
    Likeness,
    advise,
    cite,
    likeness,
    measured_datasets,
    nearest_dataset,
)
from rareseg.training.plan import plan_recipe


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory):
    """As the base of the measured data sets, but smaller."""
    folder = tmp_path_factory.mktemp("specks")
    write_specks(
        folder, SpecksSettings(images=40, size=128, contrast=1.8, foreground_share=0.012, seed=3)
    )
    return inspect_dataset(open_dataset(folder))


def scaled(fingerprint, *, cases=None, factor=1.0):
    """The same cases with more or less foreground, without rewriting pixels."""
    kept = fingerprint.cases if cases is None else cases
    return replace(
        fingerprint,
        cases=tuple(
            replace(case, voxels=(sum(case.voxels) - n, n))
            for case in kept
            for n in [round(factor * case.voxels[1])]
        ),
    )


def test_likeness_is_counted(fingerprint):
    own = likeness(fingerprint)
    assert own.images == 40
    assert own.empty == pytest.approx(0.5)
    positive = [case for case in fingerprint.cases if case.voxels[1]]
    expected = sum(c.voxels[1] for c in positive) / (len(positive) * 128 * 128)
    assert own.foreground == pytest.approx(expected)


def test_a_measured_data_set_is_most_like_itself():
    for measured in measured_datasets().datasets:
        nearest = min(
            measured_datasets().datasets,
            key=lambda other: measured.likeness.distance(other.likeness),
        )
        assert nearest is measured
        assert measured.likeness.distance(measured.likeness) == 0.0


def test_the_nearest_data_set_follows_the_data(fingerprint):
    assert "60 images" in nearest_dataset(fingerprint).title
    rare = scaled(fingerprint, cases=fingerprint.cases * 5, factor=0.3)
    assert "0.4 %" in nearest_dataset(rare).title
    empty = [case for case in fingerprint.cases if not case.is_positive]
    positive = [case for case in fingerprint.cases if case.is_positive]
    mostly = replace(fingerprint, cases=tuple(empty * 10 + positive))
    assert "90 % empty" in nearest_dataset(mostly).title


def test_advice_names_who_led_and_who_starved(fingerprint):
    rare = scaled(fingerprint, cases=fingerprint.cases * 5, factor=0.3)
    measured = nearest_dataset(rare)
    text = advise(rare)
    for name in measured.dice:
        assert (f"{name} {measured.dice[name]:.2f}" in text) == (
            name in (*measured.leading(), *measured.far_behind())
        )
    assert "random" in measured.far_behind()
    assert "docs/sampling-study.md" in text
    assert "rareseg compare" in text


def test_data_like_nothing_that_was_measured_get_no_advice(fingerprint):
    positive = [case for case in fingerprint.cases if case.is_positive]
    crowded = scaled(fingerprint, cases=positive, factor=20.0)
    assert nearest_dataset(crowded) is None
    assert advise(crowded).startswith("No measured data set is like these data")
    assert cite(crowded, "balanced") == ""
    nothing = replace(
        fingerprint, cases=tuple(case for case in fingerprint.cases if not case.is_positive)
    )
    assert likeness(nothing) is None
    assert advise(nothing).startswith("No measured data set")


def test_plan_gives_its_strategy_with_what_was_measured(fingerprint):
    plan = plan_recipe(fingerprint)
    reason = plan.reasons["sampling.strategy"]
    measured = nearest_dataset(fingerprint)
    assert f"dice {measured.dice[plan.recipe.sampling.strategy]:.2f}" in reason
    assert "docs/sampling-study.md" in reason


def test_distances_are_even_in_logarithms():
    base = Likeness(0.01, 0.5, 200)
    less, more = replace(base, foreground=0.005), replace(base, foreground=0.02)
    assert base.distance(less) == pytest.approx(base.distance(more))
    assert base.distance(replace(base, empty=0.0)) < 5.0
    assert base.distance(replace(base, images=400)) < base.distance(more)


def test_what_is_shipped_is_whole():
    text = files("rareseg.training").joinpath("measured_datasets.json").read_text(encoding="utf-8")
    for measured in json.loads(text)["datasets"]:
        assert set(measured["dice"]) == set(measured["alarms"])
        assert {"random", "balanced", "negatives", "hard"} <= set(measured["dice"])
        assert all(0.0 <= value <= 1.0 for value in measured["dice"].values())
