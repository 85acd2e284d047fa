"""The recipe: what it takes, what it refuses and in which words, and that it comes back whole."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rareseg.errors import RecipeError
from rareseg.recipe import (
    Recipe,
    differences,
    make_recipe,
    merge,
    parse_settings,
    read_overrides,
    read_recipe,
    to_yaml,
)
from rareseg.run.prepare import read_reasons


def refusal(values, **options) -> str:
    with pytest.raises(RecipeError) as caught:
        make_recipe(values, **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


class TestRefusals:
    @pytest.mark.parametrize(
        ("values", "key", "near"),
        [
            ({"trainig": {"steps": 5}}, "trainig", "training"),
            ({"training": {"step": 5}}, "training.step", "steps"),
            ({"training": {"learning-rate": 5}}, "training.learning-rate", "learning_rate"),
            ({"sampling": {"patchsize": [8, 8]}}, "sampling.patchsize", "patch_size"),
            (
                {"sampling": {"phases": [{"strategy": "a", "until": 1, "nam": "b"}]}},
                "sampling.phases.nam",
                "name",
            ),
        ],
    )
    def test_an_unknown_key_names_the_nearest(self, values, key, near):
        message = refusal(values, source="my.yaml")
        assert message.startswith(f"my.yaml: '{key}' is not a key of the recipe")
        assert f"(did you mean '{near}'?)" in message
        assert "allowed here: " in message

    def test_a_key_like_no_other_lists_what_there_is(self):
        message = refusal({"split": {"zzz": 1}})
        assert "did you mean" not in message
        assert "seed, train, select, certify, test" in message

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"training": {"steps": 0}}, ("training.steps is 0", "greater than or equal to 1")),
            ({"training": {"steps": "many"}}, ("training.steps is 'many'", "integer")),
            ({"training": {"steps": 1.5}}, ("training.steps is 1.5", "integer")),
            ({"training": {"precision": "16"}}, ("training.precision", "'auto', '32' or 'bf16'")),
            ({"training": {"encoder_rate": 0}}, ("training.encoder_rate is 0", "greater than 0")),
            ({"training": {"encoder_rate": 2}}, ("training.encoder_rate is 2", "equal to 1")),
            ({"data": {"dimension": 4}}, ("data.dimension is 4", "2 or 3")),
            ({"network": {"dropout": 1}}, ("network.dropout is 1", "less than 1")),
            ({"network": {"width": [16]}}, ("network", "2 levels")),
            ({"sampling": {"patch_size": [8]}}, ("sampling", "not 2 or 3")),
            ({"sampling": {"patch_size": [8, 0]}}, ("sampling.patch_size is 0",)),
            ({"split": {"test": 0.9}}, ("split", "1.7", "not 1")),
            ({"sampling": {"patch_size": [8, 8, 8]}}, ("sampling.patch_size", "data.dimension")),
            ({"prediction": {"tile": [8, 8, 8]}}, ("prediction.tile", "data.dimension")),
            ({"sampling": {"shares": {"a": 0.5}}}, ("sampling", "(a 0.5) sum to 0.5, not 1")),
            ({"sampling": {"shares": {"a": 1.5}}}, ("sampling.shares.a is 1.5",)),
            ({"sampling": {"phases": []}}, ("sampling", "end at nothing")),
            (
                {"sampling": {"phases": [{"strategy": "a", "until": 0.5}]}},
                ("sampling", "end at 0.5", "the last at 1"),
            ),
            (
                {
                    "sampling": {
                        "phases": [
                            {"strategy": "a", "until": 0.5},
                            {"strategy": "b", "until": 0.5},
                            {"strategy": "c", "until": 1},
                        ]
                    }
                },
                ("sampling", "end at 0.5, 0.5, 1", "after the one before it"),
            ),
            ({"mining": {"suspect_rounds": -1}}, ("mining.suspect_rounds is -1",)),
            ({"mining": {"confidence": 1.1}}, ("mining.confidence is 1.1",)),
            ({"training": 5}, ("training is 5",)),
        ],
    )
    def test_an_impossible_value_is_one_sentence(self, values, words):
        message = refusal(values)
        assert message.startswith("recipe: ")
        for word in words:
            assert word in message

    def test_every_fault_has_its_sentence(self):
        message = refusal({"training": {"steps": 0, "stps": 1}, "network": {"dropout": 2}})
        for word in ("training.steps is 0", "'training.stps'", "network.dropout is 2"):
            assert word in message
        assert message.count("recipe: ") == 3

    def test_a_recipe_does_not_change(self):
        with pytest.raises(ValueError, match="frozen"):
            Recipe().training.steps = 5


class TestYaml:
    def test_a_recipe_comes_back_whole(self, tmp_path):
        recipe = make_recipe(
            {
                "data": {"dimension": 3, "target_spacing": [1.5, 0.7, 0.7]},
                "sampling": {
                    "patch_size": [8, 16, 16],
                    "shares": {"background": 0.25, "a class": 0.75},
                    "phases": [
                        {"strategy": "table", "until": 0.5, "name": "first"},
                        {"strategy": "hard", "until": 1.0},
                    ],
                },
                "mining": {"every": 50, "confidence": 0.0},
                "loss": {"class_weights": [0.1, 2.0]},
                "prediction": {"tile": [32, 64, 64], "mirror": True},
                "training": {"learning_rate": 1e-5, "precision": "32"},
            }
        )
        (tmp_path / "r.yaml").write_text(to_yaml(recipe))
        assert read_recipe(tmp_path / "r.yaml") == recipe

    def test_every_key_is_there_with_its_reason_above_it(self, tmp_path):
        reasons = {
            "training.steps": "because: it is so",
            "sampling.strategy": "12 of 24 images (50%) # hold nothing",
        }
        text = to_yaml(Recipe(), reasons)
        content = yaml.safe_load(text)
        assert content == Recipe().model_dump(mode="json")
        lines = text.splitlines()
        assert lines[lines.index("  steps: 1000") - 1] == "  # because: it is so"
        (tmp_path / "r.yaml").write_text(text)
        read = read_reasons(tmp_path / "r.yaml")
        assert {key: read[key] for key in reasons} == reasons

    @given(
        st.builds(
            lambda steps, rate, dropout, strategy: {
                "training": {"steps": steps, "learning_rate": rate},
                "network": {"dropout": dropout},
                "sampling": {"strategy": strategy},
            },
            st.integers(1, 10**9),
            st.floats(1e-12, 1e6),
            st.floats(0, 0.99),
            st.text(min_size=1, max_size=30),
        )
    )
    def test_any_values_come_back_whole(self, values):
        recipe = make_recipe(values)
        assert make_recipe(yaml.safe_load(to_yaml(recipe))) == recipe


class TestFiles:
    def test_a_partial_file_takes_the_defaults_for_the_rest(self, tmp_path):
        (tmp_path / "r.yaml").write_text("training:\n  steps: 7\n")
        assert read_overrides(tmp_path / "r.yaml") == {"training": {"steps": 7}}
        assert read_recipe(tmp_path / "r.yaml") == make_recipe({"training": {"steps": 7}})

    def test_an_empty_file_sets_nothing(self, tmp_path):
        (tmp_path / "r.yaml").write_text("# nothing\n")
        assert read_overrides(tmp_path / "r.yaml") == {}

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"training: [1,\n", "cannot be read as YAML"),
            (b"\xff\xfe\x00training", "cannot be read as YAML"),
            (b"- a\n- b\n", "must hold sections"),
            (b"steps: 5\n", "must hold sections"),
            (b"just words\n", "must hold sections"),
        ],
    )
    def test_an_unreadable_file_is_named(self, content, words, tmp_path):
        path = tmp_path / "r.yaml"
        path.write_bytes(content)
        with pytest.raises(RecipeError) as caught:
            read_overrides(path)
        assert str(caught.value).startswith(str(path))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_file_says_how_to_make_one(self, tmp_path):
        with pytest.raises(RecipeError, match=r"r\.yaml does not exist; `rareseg plan DATA`"):
            read_overrides(tmp_path / "r.yaml")

    def test_a_folder_is_no_recipe(self, tmp_path):
        with pytest.raises(RecipeError, match="cannot be read"):
            read_overrides(tmp_path)


class TestSettings:
    def test_the_right_side_is_yaml(self):
        assert parse_settings(
            [
                "training.steps=500",
                "training.learning_rate=0.001",
                "sampling.patch_size=[64, 32]",
                "prediction.mirror=true",
                "prediction.tile=null",
                "network.name=unet",
            ]
        ) == {
            "training": {"steps": 500, "learning_rate": 0.001},
            "sampling": {"patch_size": [64, 32]},
            "prediction": {"mirror": True, "tile": None},
            "network": {"name": "unet"},
        }

    @pytest.mark.parametrize("section", ["training", "prediction"])
    def test_a_precision_may_be_written_as_a_number(self, section):
        given = parse_settings([f"{section}.precision=32"])
        assert given == {section: {"precision": 32}}
        assert getattr(make_recipe(given), section).precision == "32"

    def test_powers_of_ten_are_numbers(self):
        """YAML 1.1 reads 1e-3, without a point, as text; the recipe takes it as what is meant."""
        assert make_recipe(parse_settings(["training.learning_rate=1e-3"])) == make_recipe(
            {"training": {"learning_rate": 0.001}}
        )

    def test_the_last_of_two_holds(self):
        values = parse_settings(["training.steps=1", "training.steps=2"])
        assert values == {"training": {"steps": 2}}

    @pytest.mark.parametrize("setting", ["steps=5", "training.steps", "=5", ".=3", "training.=3"])
    def test_another_form_is_refused_with_an_example(self, setting):
        with pytest.raises(RecipeError, match=r"section\.key=value, such as training\.steps=500"):
            parse_settings([setting])

    def test_a_value_that_is_no_yaml_is_named(self):
        with pytest.raises(RecipeError, match=r"sampling\.patch_size=\[3"):
            parse_settings(["sampling.patch_size=[3"])


def test_later_layers_win_key_by_key():
    low = {"training": {"steps": 1, "seed": 2}, "data": {"dimension": 3}}
    high = {"training": {"steps": 5}, "network": {"name": "unet"}}
    assert merge(low, high) == {
        "training": {"steps": 5, "seed": 2},
        "data": {"dimension": 3},
        "network": {"name": "unet"},
    }
    assert low["training"]["steps"] == 1


def test_differences_name_key_and_both_values():
    other = make_recipe({"training": {"steps": 9}, "sampling": {"patch_size": [8, 8]}})
    assert differences(Recipe(), Recipe()) == []
    assert differences(Recipe(), other) == [
        "sampling.patch_size: [256, 256] → [8, 8]",
        "training.steps: 1000 → 9",
    ]
