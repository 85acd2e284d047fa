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
    measured_worlds,
    nearest_world,
)
from rareseg.training.plan import plan_recipe


@pytest.fixture(scope="module")
def fingerprint(tmp_path_factory):
    """As the base of the measured worlds, but smaller."""
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


def test_a_world_is_most_like_itself():
    for world in measured_worlds().worlds:
        nearest = min(
            measured_worlds().worlds, key=lambda other: world.likeness.distance(other.likeness)
        )
        assert nearest is world
        assert world.likeness.distance(world.likeness) == 0.0


def test_the_nearest_world_follows_the_data(fingerprint):
    assert "60 images" in nearest_world(fingerprint).title
    rare = scaled(fingerprint, cases=fingerprint.cases * 5, factor=0.3)
    assert "0.4 %" in nearest_world(rare).title
    empty = [case for case in fingerprint.cases if not case.is_positive]
    positive = [case for case in fingerprint.cases if case.is_positive]
    mostly = replace(fingerprint, cases=tuple(empty * 10 + positive))
    assert "90 % empty" in nearest_world(mostly).title


def test_advice_names_who_led_and_who_starved(fingerprint):
    rare = scaled(fingerprint, cases=fingerprint.cases * 5, factor=0.3)
    world = nearest_world(rare)
    text = advise(rare)
    for name in world.dice:
        assert (f"{name} {world.dice[name]:.2f}" in text) == (
            name in (*world.leading(), *world.starved())
        )
    assert "random" in world.starved()
    assert "docs/sampling-study.md" in text
    assert "rareseg compare" in text


def test_data_like_nothing_that_was_measured_get_no_advice(fingerprint):
    positive = [case for case in fingerprint.cases if case.is_positive]
    crowded = scaled(fingerprint, cases=positive, factor=20.0)
    assert nearest_world(crowded) is None
    assert advise(crowded).startswith("No measured world is like these data")
    assert cite(crowded, "balanced") == ""
    nothing = replace(
        fingerprint, cases=tuple(case for case in fingerprint.cases if not case.is_positive)
    )
    assert likeness(nothing) is None
    assert advise(nothing).startswith("No measured world")


def test_plan_gives_its_strategy_with_what_was_measured(fingerprint):
    plan = plan_recipe(fingerprint)
    reason = plan.reasons["sampling.strategy"]
    world = nearest_world(fingerprint)
    assert f"dice {world.dice[plan.recipe.sampling.strategy]:.2f}" in reason
    assert "docs/sampling-study.md" in reason


def test_distances_are_even_in_logarithms():
    base = Likeness(0.01, 0.5, 200)
    less, more = replace(base, foreground=0.005), replace(base, foreground=0.02)
    assert base.distance(less) == pytest.approx(base.distance(more))
    assert base.distance(replace(base, empty=0.0)) < 5.0
    assert base.distance(replace(base, images=400)) < base.distance(more)


def test_what_is_shipped_is_whole():
    text = files("rareseg.training").joinpath("worlds.json").read_text(encoding="utf-8")
    for world in json.loads(text)["worlds"]:
        assert set(world["dice"]) == set(world["alarms"])
        assert {"random", "balanced", "negatives", "hard"} <= set(world["dice"])
        assert all(0.0 <= value <= 1.0 for value in world["dice"].values())
