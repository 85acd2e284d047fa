import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from rareseg.errors import RecipeError, UsageError
from rareseg.recipe import make_recipe
from rareseg.study.search_space import make_space


def test_ranges_and_choices():
    space = make_space(
        ["training.learning_rate=1e-4..1e-2:log", "network.dropout=0..0.5", "mining.voxels=0..64"],
        ["loss.name=focal|tversky", "network.width=[8, 16]|[16, 32]"],
    )
    assert space.distributions == {
        "training.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "network.dropout": FloatDistribution(0, 0.5),
        "mining.voxels": IntDistribution(0, 64),
        "loss.name": CategoricalDistribution(["focal", "tversky"]),
        "network.width": CategoricalDistribution(["[8, 16]", "[16, 32]"]),
    }


def test_what_is_drawn_becomes_a_recipe_and_back():
    space = make_space(
        ["training.learning_rate=1e-4..1e-2:log"], ["network.width=[8, 16]|[16, 32]"]
    )
    drawn = {"training.learning_rate": 0.002, "network.width": "[16, 32]"}
    values = space.overrides(drawn)
    assert values == {"training": {"learning_rate": 0.002}, "network": {"width": [16, 32]}}
    recipe = make_recipe(values)
    assert recipe.network.width == (16, 32)
    assert space.within(recipe) == drawn
    # What lies outside of the space is not part of its first trial.
    assert space.within(make_recipe({"training": {"learning_rate": 0.5}})) == {}


def test_settings_of_a_loss_that_was_not_drawn_are_left_out():
    space = make_space(["loss.focal_gamma=0..3"], ["loss.name=focal|tversky"])
    values = space.overrides({"loss.name": "tversky", "loss.focal_gamma": 1.5})
    assert values == {"loss": {"name": "tversky"}}
    values = space.overrides({"loss.name": "focal", "loss.focal_gamma": 1.5})
    assert values == {"loss": {"name": "focal", "focal_gamma": 1.5}}
    assert space.within(make_recipe({"loss": {"name": "tversky"}})) == {"loss.name": "tversky"}


def test_without_a_word_the_default_space_is_searched():
    space = make_space([], [])
    assert "sampling.strategy" in space.distributions
    assert "training.learning_rate" in space.distributions


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "network.dropout",
        "network.dropout=0",
        "network.dropout=0.5..0.1",
        "network.dropout=a..b",
        "training.learning_rate=0..1:log",
        "training.learning_rate=1e-4..1e-2:lin",
    ],
)
def test_what_is_no_range_is_refused(text):
    with pytest.raises(RecipeError, match="not of the form"):
        make_space([text], [])


@pytest.mark.parametrize("text", ["loss.name", "loss.name=focal", "loss.name=focal|"])
def test_what_is_no_choice_is_refused(text):
    with pytest.raises(RecipeError, match="not of the form"):
        make_space([], [text])


def test_values_that_no_recipe_takes_are_refused():
    with pytest.raises(RecipeError, match="dropout"):
        make_space(["network.dropout=0..2"], [])
    with pytest.raises(RecipeError, match=r"did you mean 'dropout'"):
        make_space(["network.dropot=0..0.2"], [])
    with pytest.raises(RecipeError, match="which all trainings share"):
        make_space(["training.steps=100..200"], [])
    with pytest.raises(UsageError, match="varied twice"):
        make_space(["network.dropout=0..0.2"], ["network.dropout=0|0.1"])
