import pytest

from rareseg.errors import RecipeError, UsageError
from rareseg.study.comparison_rows import make_rows, parse_row, strategy_row


def test_a_strategy_is_a_row():
    assert strategy_row("hard").settings == {"sampling": {"strategy": "hard"}}


def test_a_row_sets_anything_and_brackets_keep_their_commas():
    row = parse_row(
        "mine: sampling.strategy=table, sampling.shares={background: 0.5, speck: 0.5},"
        "network.width=[4, 8], loss.name=focal"
    )
    assert row.name == "mine"
    assert row.settings == {
        "sampling": {"strategy": "table", "shares": {"background": 0.5, "speck": 0.5}},
        "network": {"width": [4, 8]},
        "loss": {"name": "focal"},
    }


@pytest.mark.parametrize("text", ["mine", "mine:", ":loss.name=focal", "mine:loss=focal", ""])
def test_what_is_no_row_is_refused(text):
    with pytest.raises(RecipeError, match="is not of the form"):
        parse_row(text)


@pytest.mark.parametrize(
    "key", ["split.seed=1", "data.dimension=2", "training.seed=4", "training.steps=9"]
)
def test_what_all_rows_share_is_no_row_s_own(key):
    with pytest.raises(RecipeError, match="which all trainings share"):
        parse_row(f"mine:{key}")


def test_unknown_names_name_the_nearest():
    with pytest.raises(RecipeError, match=r"did you mean 'balanced'"):
        strategy_row("balancd")
    with pytest.raises(RecipeError, match=r"did you mean 'name'"):
        parse_row("mine:loss.nam=focal")
    with pytest.raises(RecipeError, match="--row mine"):
        parse_row("mine:mining.confidence=1.5")


def test_two_rows_of_one_name_and_no_row_are_refused():
    with pytest.raises(UsageError, match="Two rows are called 'random'"):
        make_rows(["random"], ["random:loss.name=focal"])
    with pytest.raises(UsageError, match="no row"):
        make_rows([], [])
