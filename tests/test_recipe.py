"""The recipe: what it takes, what it refuses and in which words, and that it comes back whole."""

from typing import Annotated

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from rareseg.errors import RecipeError
from rareseg.recipe import (
    Family,
    Recipe,
    Section,
    differences,
    make_recipe,
    merge,
    parse_settings,
    read_overrides,
    read_recipe,
    to_yaml,
)
from rareseg.run.setup.prepare import read_reasons


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

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (
                {"network": {"name": "unet", "widht": [8]}},
                ("'network.widht' is not a key of the network unet", "(did you mean 'width'?)"),
            ),
            (
                {"network": {"name": "segresnet", "decoder_width": [8]}},
                ("is not a key of the network segresnet", "first_width, levels, blocks"),
            ),
            (
                {"network": {"width": [8, 8, 8], "encoder": "efficientnet_lite0"}},
                ("'network.encoder' is not a key of the network half_unet",),
            ),
            ({"network": {"name": "unett"}}, ("network.name is 'unett' (did you mean 'unet'?)",)),
        ],
    )
    def test_a_key_that_the_named_network_does_not_read_is_unknown(self, values, words):
        with pytest.raises(RecipeError) as caught:
            make_recipe(values)
        for word in words:
            assert word in str(caught.value)

    def test_a_key_like_no_other_lists_what_there_is(self):
        message = refusal({"split": {"zzz": 1}})
        assert "did you mean" not in message
        assert "seed, train, validation, certify, test" in message

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

    @pytest.mark.parametrize("text", ["\x85", "a\u2028b", "ä\u2029 ", "ü"])
    def test_line_breaks_of_unicode_come_back(self, text):
        recipe = make_recipe({"sampling": {"strategy": text}})
        assert make_recipe(yaml.safe_load(to_yaml(recipe))) == recipe

    @settings(deadline=None)
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


class TestNetworks:
    def test_each_holds_what_it_reads_and_nothing_else(self):
        network = make_recipe({"network": {"name": "segresnet"}}).model_dump()["network"]
        assert set(network) == {"name", "first_width", "levels", "blocks", "norm", "dropout"}
        assert "width" in Recipe().model_dump()["network"]

    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ({}, "half_unet"),
            ({"norm": "batch"}, "half_unet"),
            ({"width": [8, 8, 8]}, "half_unet"),
            ({"width": [8, 8]}, "unet"),
            ({"blocks": 2}, "segresnet"),
            ({"encoder": "efficientnet_lite1"}, "encoder_unet"),
            ({"encoder": "none"}, "half_unet"),
        ],
    )
    def test_without_a_name_it_is_the_first_that_takes_the_values(self, values, name):
        assert make_recipe({"network": values}).network.name == name

    def test_no_encoder_and_the_network_with_one_contradict_each_other(self):
        values = {"name": "encoder_unet", "encoder": "none"}
        with pytest.raises(RecipeError, match=r"leave network\.name out"):
            make_recipe({"network": values})

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (
                {"name": "half_unet", "width": [8, 16, 16], "residual_units": 2},
                {"name": "half_unet", "width": (8, 16, 16), "residual": True},
            ),
            (
                {"name": "dynunet", "width": [8, 16, 16], "residual_units": 0},
                {"name": "dynunet", "width": (8, 16, 16), "residual": False},
            ),
            (
                {"name": "unet", "width": [8, 16], "residual_units": 2},
                {"name": "unet", "width": (8, 16), "residual_units": 2},
            ),
            (
                {"name": "basicunet", "width": [8, 8, 8, 8, 16], "residual_units": 1},
                {"name": "basicunet", "width": (8, 8, 8, 8, 16)},
            ),
            (
                {"name": "segresnet", "width": [8, 99, 3], "residual_units": 0},
                {"name": "segresnet", "first_width": 8, "levels": 3, "blocks": 1},
            ),
            (
                {"name": "segresnet", "width": [8, 16], "residual_units": 4},
                {"name": "segresnet", "first_width": 8, "levels": 2, "blocks": 4},
            ),
            ({"name": "segresnet", "width": [8, 16]}, {"first_width": 8, "levels": 2}),
            ({"residual_units": 1}, {"name": "half_unet", "residual": True}),
        ],
    )
    def test_sections_of_format_1_mean_the_network_that_they_meant(self, values, expected):
        flat = {"norm": "batch", "dropout": 0.25}
        network = make_recipe({"network": {**values, **flat}}).network.model_dump()
        assert network == {**network, **expected, **flat}

    @pytest.mark.parametrize("value", [None, "two", True, [1]])
    def test_an_odd_value_of_an_old_key_is_one_sentence(self, value):
        with pytest.raises(RecipeError, match=r"'network\.residual_units' is not a key"):
            make_recipe({"network": {"name": "dynunet", "residual_units": value}})


class TinySection(Section):
    name: str = "tiny"
    size: Annotated[int, Field(ge=3)] = 3


class SmallSection(Section):
    name: str = "small"
    size: int = 1
    shape: str = "round"


class TestFamily:
    @pytest.fixture
    def family(self):
        family = Family("thing", Section)
        family.register(TinySection)
        family.register(SmallSection)
        return family

    def test_members_are_found_by_name_and_by_what_they_read(self, family):
        assert family.names == ("tiny", "small")
        assert family.member("small") is SmallSection
        assert family.readers(["size"]) == ("tiny", "small")
        assert family.readers(["size", "shape"]) == ("small",)
        assert family.readers(["colour"]) == ()
        assert family.readers([]) == ("tiny", "small")

    def test_an_unknown_name_names_the_nearest_and_all(self, family):
        words = r"thing\.name is 'tinny' \(did you mean 'tiny'\?\); allowed are tiny, small\."
        with pytest.raises(RecipeError, match=words):
            family.validate({"name": "tinny"})

    def test_a_name_belongs_to_one_section(self, family):
        assert family.register(TinySection) is TinySection
        with pytest.raises(RecipeError, match=r"thing\.name 'tiny' is registered twice"):
            family.register(type("Other", (TinySection,), {}))

    @pytest.mark.parametrize(
        ("values", "found"),
        [
            ({}, TinySection()),
            ({"size": 5}, TinySection(size=5)),
            ({"size": 2}, SmallSection(size=2)),
            ({"shape": "long"}, SmallSection(shape="long")),
            ({"name": "small", "size": 5}, SmallSection(size=5)),
        ],
    )
    def test_values_become_the_first_section_that_takes_them(self, family, values, found):
        assert family.validate(values) == found

    def test_what_is_no_mapping_passes(self, family):
        assert family.validate(7) == 7
        assert family.validate(TinySection(size=4)) == TinySection(size=4)

    def test_values_that_none_takes_are_held_against_the_default(self, family):
        with pytest.raises(ValidationError, match="TinySection"):
            family.validate({"colour": "red"})

    def test_another_name_leaves_behind_what_only_others_read(self, family):
        values = {"size": 5, "shape": "long", "colour": "red"}
        assert family.keep_readable(values, "tiny") == {"size": 5, "colour": "red", "name": "tiny"}
        assert family.keep_readable(values, "small") == {**values, "name": "small"}

    def test_earlier_values_are_read_as_those_of_today(self):
        family = Family("thing", Section, upgrade=lambda values: {"size": 2 * values["old"]})
        family.register(SmallSection)
        assert family.validate({"old": 4}) == SmallSection(size=8)


def test_later_layers_win_key_by_key():
    low = {"training": {"steps": 1, "seed": 2}, "data": {"dimension": 3}}
    high = {"training": {"steps": 5}, "network": {"name": "unet"}}
    assert merge(low, high) == {
        "training": {"steps": 5, "seed": 2},
        "data": {"dimension": 3},
        "network": {"name": "unet"},
    }
    assert low["training"]["steps"] == 1


class TestMergingNetworks:
    LOW = {"network": {"name": "unet", "width": [8, 16], "residual_units": 2}}  # noqa: RUF012

    def test_another_name_drops_what_the_new_network_does_not_read(self):
        merged = merge(self.LOW, {"network": {"name": "half_unet", "norm": "batch"}})
        assert merged == {"network": {"name": "half_unet", "width": [8, 16], "norm": "batch"}}
        merged = merge(self.LOW, {"network": {"name": "encoder_unet"}})
        assert make_recipe(merged) == make_recipe({"network": {"name": "encoder_unet"}})

    def test_so_it_does_where_the_earlier_layer_named_none(self):
        low = {"network": {"width": [8, 16, 16], "dropout": 0.1}}
        merged = merge(low, {"network": {"name": "encoder_unet"}})
        assert merged == {"network": {"name": "encoder_unet", "dropout": 0.1}}

    def test_the_same_name_and_no_name_keep_everything(self):
        for high in ({"name": "unet"}, {"dropout": 0.1}):
            assert merge(self.LOW, {"network": high}) == {
                "network": {**self.LOW["network"], **high}
            }

    def test_what_no_network_reads_stays_to_be_found(self):
        merged = merge({"network": {"widht": [8]}}, {"network": {"name": "unet"}})
        with pytest.raises(RecipeError, match="did you mean 'width'"):
            make_recipe(merged)


def test_of_two_networks_what_both_read_is_compared():
    first = make_recipe({"network": {"name": "unet", "residual_units": 2, "norm": "batch"}})
    second = make_recipe({"network": {"name": "segresnet", "norm": "group", "levels": 5}})
    assert differences(first, second) == [
        "network.name: unet → segresnet",
        "network.norm: batch → group",
    ]


def test_differences_name_key_and_both_values():
    other = make_recipe({"training": {"steps": 9}, "sampling": {"patch_size": [8, 8]}})
    assert differences(Recipe(), Recipe()) == []
    assert differences(Recipe(), other) == [
        "sampling.patch_size: [256, 256] → [8, 8]",
        "training.steps: 1000 → 9",
    ]
