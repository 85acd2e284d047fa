"""The plan: it keeps what the user set, gives its reasons, and fits what is in the data."""

from dataclasses import replace

import pytest

from rareseg.data.checks.case_checks import ChannelFacts
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.errors import RecipeError
from rareseg.prediction.networks import require_fitting_windows, stride
from rareseg.recipe import FAMILIES, make_recipe
from rareseg.training.plan import make_preprocessing, plan_recipe
from rareseg_runner.image_records import Classes

CLASSES = Classes(("background", "spot"), (0, 1), {"foreground": (1,)})


def facts(number: int, shape, spacing=(1.0, 1.0, 1.0), *, dimension=2, voxels=50, channels=1):
    total = shape[0] * shape[1] * shape[2]
    return CaseFacts(
        id=f"case{number}",
        group=None,
        role=None,
        shape=shape,
        spacing=spacing,
        dimension=dimension,
        channels=channels,
        dtype="uint8",
        voxels=(total - voxels, voxels),
        ignored=0,
        intensities=tuple(
            ChannelFacts(c + number, c + 50.0, c + 200.0, c + 60.0, 10.0 + c + number)
            for c in range(channels)
        ),
        thumbnail_hash=f"{number:08x}",
    )


def fingerprint(cases) -> Fingerprint:
    return Fingerprint(tuple(cases), CLASSES, (), (), (), "0" * 64)


def photographs(count=20, shape=(1, 300, 280), empty=0):
    return fingerprint(facts(n, shape, voxels=0 if n < empty else 50) for n in range(count))


def volumes(shape=(60, 64, 60), spacing=(1.0, 1.0, 1.0), count=10):
    return fingerprint(facts(n, shape, spacing, dimension=3) for n in range(count))


def reason_of(plan, name):
    assert plan.reasons[name].strip()
    return plan.reasons[name]


class TestDimension:
    def test_photographs_are_planned_in_2d(self):
        plan = plan_recipe(photographs())
        assert plan.recipe.data.dimension == 2
        assert "photographs" in reason_of(plan, "data.dimension")
        assert len(plan.recipe.sampling.patch_size) == 2

    def test_volumes_of_near_cubic_voxels_in_3d(self):
        plan = plan_recipe(volumes())
        assert plan.recipe.data.dimension == 3
        assert len(plan.recipe.sampling.patch_size) == 3
        assert plan.recipe.data.target_spacing is None
        assert plan.recipe.augmentation.mirror == 0
        assert not plan.recipe.augmentation.paste_turns

    def test_volumes_of_thick_slices_in_2d(self):
        plan = plan_recipe(volumes(shape=(30, 256, 256), spacing=(5.0, 0.8, 0.8)))
        assert plan.recipe.data.dimension == 2
        assert "5 mm apart" in reason_of(plan, "data.dimension")

    def test_volumes_of_few_slices_in_2d(self):
        plan = plan_recipe(volumes(shape=(9, 128, 128)))
        assert plan.recipe.data.dimension == 2
        assert "9 slices" in reason_of(plan, "data.dimension")

    def test_differing_spacings_are_brought_to_their_median(self):
        cases = [
            facts(n, (40, 50, 50), (spacing, 1.0, 0.9), dimension=3)
            for n, spacing in enumerate((1.0, 1.2, 2.0))
        ]
        plan = plan_recipe(fingerprint(cases))
        assert plan.recipe.data.target_spacing == (1.2, 1.0, 0.9)


class TestWindows:
    @pytest.mark.parametrize(
        "data",
        [
            photographs(),
            photographs(shape=(1, 97, 1500)),
            photographs(shape=(1, 20, 24)),
            volumes(),
            volumes(shape=(17, 20, 200)),
            volumes(shape=(30, 256, 256), spacing=(5.0, 0.8, 0.8)),
        ],
    )
    @pytest.mark.parametrize(
        "network", [{}, {"encoder": "none"}, {"name": "unet", "width": [4, 8, 8, 8]}]
    )
    def test_the_network_can_take_every_planned_window(self, data, network):
        recipe = plan_recipe(data, {"network": network}).recipe
        multiple = stride(recipe.network)
        assert all(side % multiple == 0 for side in recipe.sampling.patch_size)
        assert recipe.prediction.tile is not None
        assert all(side % multiple == 0 for side in recipe.prediction.tile)

    def test_a_window_is_no_larger_than_the_median_image_where_the_stride_allows(self):
        recipe = plan_recipe(photographs(shape=(1, 130, 1500))).recipe
        height, width = recipe.sampling.patch_size
        assert height <= 130
        assert width < 1500

    def test_larger_windows_come_in_smaller_batches(self):
        small = plan_recipe(photographs(), {"sampling": {"patch_size": [64, 64]}}).recipe
        large = plan_recipe(photographs(), {"sampling": {"patch_size": [512, 512]}}).recipe
        assert small.sampling.batch_size > large.sampling.batch_size >= 2

    @pytest.mark.parametrize(
        ("batch", "side", "norm", "words"),
        [
            (1, 48, "group", "1 window a batch: too little"),
            (2, 48, "batch", "2 windows a batch, of 110,592 voxels each, are enough"),
            (2, 16, "group", "2 windows a batch: too little"),
            (8, 16, "batch", "8 windows a batch are enough"),
        ],
    )
    def test_what_holds_little_is_normalised_by_groups(self, batch, side, norm, words):
        windows = {"sampling": {"batch_size": batch, "patch_size": [side] * 3}}
        plan = plan_recipe(volumes(), windows)
        assert plan.recipe.network.norm == norm
        assert words in reason_of(plan, "network.norm")


class TestPrediction:
    def test_photographs_are_mirrored_unless_they_are_not_while_learning(self):
        assert plan_recipe(photographs()).recipe.prediction.mirror
        straight = plan_recipe(photographs(), {"augmentation": {"mirror": 0}})
        assert not straight.recipe.prediction.mirror
        assert not plan_recipe(volumes()).recipe.prediction.mirror


class TestStrategy:
    def test_many_empty_images_are_looked_at_as_often(self):
        plan = plan_recipe(photographs(count=20, empty=14))
        assert plan.recipe.sampling.strategy == "negatives"
        assert "14 of 20 images (70%)" in reason_of(plan, "sampling.strategy")

    def test_few_groups_with_foreground_are_pasted_into_empty_windows(self):
        few = plan_recipe(photographs(20, empty=10))
        assert few.recipe.augmentation.paste == 0.5
        assert "only 10 groups hold foreground" in few.reasons["augmentation.paste"]
        assert plan_recipe(photographs(240, empty=120)).recipe.augmentation.paste == 0
        assert plan_recipe(photographs(20)).recipe.augmentation.paste == 0
        bare = plan_recipe(photographs(20, empty=10), {"network": {"encoder": "none"}})
        assert bare.recipe.augmentation.paste == 0

    def test_few_empty_images_leave_the_classes_balanced(self):
        plan = plan_recipe(photographs(count=20, empty=1))
        assert plan.recipe.sampling.strategy == "balanced"

    def test_groups_of_several_images_are_drawn_alike(self):
        alone = photographs()
        paired = replace(
            alone,
            cases=tuple(replace(c, group=f"tile{n // 2}") for n, c in enumerate(alone.cases)),
        )
        assert plan_recipe(alone).recipe.sampling.weighting == "case"
        plan = plan_recipe(paired)
        assert plan.recipe.sampling.weighting == "group"
        assert "20 images belong to 10 groups" in reason_of(plan, "sampling.weighting")

    def test_mining_judges_everything_where_a_subset_would_take_longer(self):
        """2,000 windows of nearly whole images hold more than 20 images do."""
        plan = plan_recipe(photographs(count=20))
        assert plan.recipe.mining.voxels == 0
        assert "every voxel" in reason_of(plan, "mining.voxels")
        # 20 images of 300 x 280 are 1.68 million pixels, 2,000 windows of 16 x 16 half a million.
        small = {"sampling": {"patch_size": [16, 16]}, "data": {"target_spacing": None}}
        plan = plan_recipe(photographs(count=20), small)
        assert plan.recipe.mining.voxels == 1000
        assert "3.3 times as long" in reason_of(plan, "mining.voxels")


class TestOverrides:
    OVERRIDES = {  # noqa: RUF012
        "data": {"normalisation": "range"},
        "sampling": {"patch_size": [40, 56], "strategy": "random"},
        "network": {"name": "dynunet", "width": [8, 16, 16], "dropout": 0.2},
        "training": {"steps": 123, "learning_rate": 0.5, "weight_decay": 0.0},
        "augmentation": {"noise": 0.9},
        "prediction": {"tile": None, "mirror": True},
        "split": {"seed": 4},
    }

    def test_they_are_kept_and_say_so(self):
        plan = plan_recipe(photographs(), self.OVERRIDES)
        values = plan.recipe.model_dump(mode="json")
        for section, keys in self.OVERRIDES.items():
            for key, value in keys.items():
                assert values[section][key] == value, (section, key)
                assert plan.reasons[f"{section}.{key}"] == "set by you"

    def test_what_depends_on_them_follows(self):
        plan = plan_recipe(volumes(), {"data": {"dimension": 2}})
        assert len(plan.recipe.sampling.patch_size) == 2
        assert len(plan.recipe.prediction.tile) == 2

    def test_a_whole_recipe_comes_back_as_it_is(self):
        recipe = plan_recipe(photographs()).recipe
        other = photographs(count=200, shape=(1, 900, 900), empty=100)
        assert plan_recipe(other, recipe.model_dump()).recipe == recipe

    @pytest.mark.parametrize(
        ("overrides", "words"),
        [
            ({"training": {"stesp": 5}}, "did you mean 'steps'"),
            ({"training": {"steps": -5}}, "training.steps is -5"),
            ({"sampling": {"patch_size": [8, 8, 8]}}, "sampling.patch_size has 3 values"),
        ],
    )
    def test_impossible_ones_are_refused(self, overrides, words):
        with pytest.raises(RecipeError, match=words):
            plan_recipe(photographs(), overrides)


class TestLoss:
    def test_settings_that_the_planned_loss_reads_are_taken(self):
        loss = plan_recipe(photographs(), {"loss": {"hardest_share": 0.1}}).recipe.loss
        assert (loss.name, loss.hardest_share) == ("dice_hard_cross_entropy", 0.1)
        loss = plan_recipe(photographs(), {"loss": {"batch_dice": True}}).recipe.loss
        assert (loss.name, loss.batch_dice) == ("dice_hard_cross_entropy", True)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (
                {"focal_gamma": 1},
                r"planned loss\.name dice_hard_cross_entropy does not read loss\.focal_gamma; set "
                r"loss\.name to one that does, which is focal\.",
            ),
            (
                {"tversky_false_positive": 0.1, "tversky_false_negative": 0.9},
                r"read loss\.tversky_false_positive and loss\.tversky_false_negative; .* tversky\.",
            ),
        ],
    )
    def test_settings_that_it_does_not_read_name_the_losses_that_do(self, given, words):
        with pytest.raises(RecipeError, match=words):
            plan_recipe(photographs(), {"loss": given})

    def test_a_flat_section_of_an_earlier_recipe_is_what_it_was(self):
        flat = {
            "name": "focal",
            "class_weights": None,
            "batch_dice": False,
            "hardest_share": 0.02,
            "focal_gamma": 1.5,
            "tversky_false_positive": 0.3,
            "tversky_false_negative": 0.7,
            "presence": 0.0,
        }
        loss = plan_recipe(photographs(), {"loss": flat}).recipe.loss
        assert (loss.name, loss.focal_gamma) == ("focal", 1.5)


@pytest.mark.parametrize("data", [photographs(), photographs(empty=12), volumes()])
@pytest.mark.parametrize("network", [{}, {"encoder": "none"}])
def test_every_reason_is_of_a_key_and_none_is_missing_for_what_was_chosen(data, network):
    plan = plan_recipe(data, {"network": network})
    values = plan.recipe.model_dump()
    usual = make_recipe({place: {"name": values[place]["name"]} for place in FAMILIES}).model_dump()
    keys = {f"{section}.{key}" for section, keys in values.items() for key in keys}
    assert set(plan.reasons) - {"network.encoder"} <= keys
    changed = {
        name
        for name in keys
        if values[name.split(".")[0]][name.split(".")[1]]
        != usual[name.split(".")[0]][name.split(".")[1]]
    }
    assert changed <= set(plan.reasons)


class TestValidations:
    def test_there_are_few_where_nothing_is_chosen_by_them(self):
        assert plan_recipe(photographs()).recipe.training.validations == 2
        for key, value in (("checkpoint", "best"), ("patience", 2)):
            kept = plan_recipe(photographs(), {"training": {key: value}})
            assert kept.recipe.training.validations == 4, key


class TestNetwork:
    def test_photographs_and_slices_begin_with_a_pretrained_encoder(self):
        for data in (photographs(), volumes(shape=(30, 256, 256), spacing=(5.0, 0.8, 0.8))):
            plan = plan_recipe(data)
            assert plan.recipe.network.name == "encoder_unet"
            assert plan.recipe.network.encoder == "efficientnet_lite0"
            assert plan.recipe.network.encoder_weights == "pretrained"
            assert plan.recipe.sampling.patch_size == (224, 224)
            assert plan.recipe.data.target_spacing is None
            assert "network.encoder=none" in reason_of(plan, "network.name")

    def test_volumes_begin_at_random(self):
        plan = plan_recipe(volumes())
        assert plan.recipe.network.name == "half_unet"
        assert "half resolution" in reason_of(plan, "network.name")

    @pytest.mark.parametrize("wish", [{"encoder": "none"}, {"name": "half_unet"}])
    def test_without_an_encoder_everything_is_planned_anew(self, wish):
        """Name, widths, windows, resolution and rate."""
        thick = fingerprint(replace(case, thickness=12.0) for case in photographs().cases)
        recipe = plan_recipe(thick, {"network": wish}).recipe
        assert recipe.network.name == "half_unet"
        assert recipe.network.width == (16, 32, 64, 128, 192)
        assert recipe.data.target_spacing == (1.0, 2.0, 2.0)
        with_encoder = plan_recipe(thick).recipe
        assert recipe.training.learning_rate > with_encoder.training.learning_rate
        assert with_encoder.data.target_spacing is None

    def test_no_encoder_by_wish_says_so(self):
        plan = plan_recipe(photographs(), {"network": {"encoder": "none"}})
        assert "no pretrained encoder, as set by you" in reason_of(plan, "network.name")

    @pytest.mark.parametrize(
        ("wish", "name"),
        [
            ({"width": [8, 8, 8]}, "half_unet"),
            ({"residual": True}, "half_unet"),
            ({"residual_units": 2}, "half_unet"),
            ({"blocks": 2}, "segresnet"),
            ({"norm": "group", "dropout": 0.1}, "encoder_unet"),
            ({"decoder_width": [64, 32, 32, 16, 16]}, "encoder_unet"),
            ({"encoder": "efficientnet_lite1"}, "encoder_unet"),
            ({"encoder": "none", "norm": "group"}, "half_unet"),
        ],
    )
    def test_what_is_set_chooses_the_network_that_reads_it(self, wish, name):
        plan = plan_recipe(photographs(), {"network": wish})
        assert plan.recipe.network.name == name
        for key in set(wish) & set(plan.recipe.network.model_dump()):
            assert plan.reasons[f"network.{key}"] == "set by you"
        if name == "half_unet" and "encoder" not in wish:
            assert "it reads what you set (network." in reason_of(plan, "network.name")

    @pytest.mark.parametrize(
        ("wish", "name"),
        [({"first_width": 8}, "segresnet"), ({"norm": "group"}, "half_unet")],
    )
    def test_so_it_does_for_volumes(self, wish, name):
        assert plan_recipe(volumes(), {"network": wish}).recipe.network.name == name

    def test_an_encoder_for_volumes_is_refused_before_anything_is_trained(self):
        plan = plan_recipe(volumes(), {"network": {"encoder": "efficientnet_lite0"}})
        with pytest.raises(RecipeError, match=r"takes 2D images, but data\.dimension is 3"):
            require_fitting_windows(plan.recipe)

    @pytest.mark.parametrize(
        ("wish", "words"),
        [
            ({"encoder": "efficientnet_lite9"}, "did you mean 'efficientnet_lite"),
            ({"encoder": "none", "decoder_width": [8]}, "is not a key of the network half_unet"),
            ({"width": [8, 8]}, "needs at least 3 levels"),
        ],
    )
    def test_impossible_ones_are_refused(self, wish, words):
        with pytest.raises(RecipeError, match=words):
            plan_recipe(photographs(), {"network": wish})


class TestPreprocessing:
    def test_it_is_what_the_recipe_says(self):
        plan = plan_recipe(volumes(), {"data": {"target_spacing": [2.0, 1.0, 1.0]}})
        found = make_preprocessing(plan.recipe, volumes())
        assert (found.dimension, found.method) == (3, "zscore")
        assert found.target_spacing == (2.0, 1.0, 1.0)
        assert (found.clip, found.mean, found.std) == (None, None, None)

    def test_the_data_set_is_described_by_medians_over_its_cases(self):
        # Case n, channel c: low = c + n, high = c + 200, mean = c + 60, deviation = 10 + c + n.
        data = fingerprint(facts(n, (1, 50, 50), channels=2) for n in (0, 1, 5))
        plan = plan_recipe(data, {"data": {"normalisation": "dataset"}})
        found = make_preprocessing(plan.recipe, data)
        assert found.clip == ((1.0, 200.0), (2.0, 201.0))
        assert found.mean == (60.0, 61.0)
        assert found.std == (11.0, 12.0)


def test_what_is_thick_may_be_seen_at_half_resolution_and_what_is_thin_may_not():
    def spacing(thickness, shape=(1, 300, 280)):
        cases = (replace(c, thickness=thickness) for c in photographs(shape=shape).cases)
        plan = plan_recipe(fingerprint(cases), {"network": {"encoder": "none"}})
        return plan.recipe.data.target_spacing

    assert spacing(1.5) is None
    assert spacing(12.0) == (1.0, 2.0, 2.0)
    assert spacing(12.0, shape=(1, 100, 90)) is None
