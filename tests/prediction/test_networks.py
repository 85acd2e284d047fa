"""What single networks do beyond the contract that all keep, and what their sections refuse."""

from typing import Literal

import pytest
import torch

from rareseg.errors import RecipeError
from rareseg.prediction.networks import (
    NetworkParts,
    build_network,
    network,
    require_fitting_windows,
    stride,
)
from rareseg.prediction.networks.plain_unet import fold
from rareseg.recipe import NetworkSection, make_recipe


def section(**values: object) -> NetworkSection:
    return make_recipe({"network": values}).network


@pytest.mark.parametrize("dimension", [2, 3])
def test_folding_moves_neighbours_into_channels_and_loses_nothing(dimension: int) -> None:
    images = torch.arange(2 * 3 * 4**dimension).reshape(2, 3, *(4,) * dimension)
    folded = fold(images)
    assert folded.shape == (2, 3 * 2**dimension, *(2,) * dimension)
    corner = (slice(0, 2),) * dimension
    first = folded[(0, slice(0, 2**dimension), *(0,) * dimension)]
    assert torch.equal(first, images[(0, 0, *corner)].flatten())
    assert torch.equal(folded.flatten().sort().values, images.flatten())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "half-unet"}, "did you mean 'half_unet'"),
        ({"name": "basicunet", "width": (8, 8)}, "give 5 widths"),
        ({"name": "half_unet", "width": (8, 8)}, "half_unet needs at least 3 levels"),
        ({"name": "dynunet", "width": (8, 8)}, "dynunet needs at least 3 levels"),
        ({"name": "segresnet", "levels": 1}, "network.levels is 1"),
    ],
)
def test_what_a_network_cannot_be_is_refused_with_the_recipe(values, words) -> None:
    with pytest.raises(RecipeError, match=words):
        section(**values)


def test_a_section_without_a_builder_says_what_is_missing() -> None:
    class LonelySection(NetworkSection):
        name: Literal["lonely"] = "lonely"

    with pytest.raises(RecipeError, match=r"'lonely' has a section but no builder; register one"):
        stride(LonelySection())


def test_a_name_is_registered_once() -> None:
    class OtherSection(NetworkSection):
        name: Literal["unet"] = "unet"

    with pytest.raises(RecipeError, match=r"network\.name 'unet' is registered twice"):

        @network(OtherSection, stride=lambda s: 1, parts=lambda s: NetworkParts(("a",), "a", 1))
        def other(settings, /, *, dimension, channels, classes):
            raise AssertionError("never built")

    assert build_network(section(name="unet"), dimension=2, channels=1, classes=2)


class TestWindows:
    def test_those_that_are_no_multiple_of_the_stride_are_refused_with_near_ones(self):
        recipe = make_recipe(
            {"network": {"name": "encoder_unet"}, "sampling": {"patch_size": [100, 64]}}
        )
        words = r"patch_size is \[100, 64\], .* multiples of 32, such as \[96, 64\]"
        with pytest.raises(RecipeError, match=words):
            require_fitting_windows(recipe)

    def test_a_network_that_cannot_be_built_is_refused_before_them(self):
        volumes = {"data": {"dimension": 3}, "sampling": {"patch_size": [32] * 3}}
        tile = {"prediction": {"tile": None}}
        recipe = make_recipe({"network": {"name": "encoder_unet"}, **volumes, **tile})
        with pytest.raises(RecipeError, match=r"takes 2D images, but data\.dimension is 3"):
            require_fitting_windows(recipe)


class TestEncoderUNet:
    def test_a_decoder_of_another_depth_than_the_encoder_is_refused(self):
        settings = section(name="encoder_unet", decoder_width=[32, 16])
        with pytest.raises(RecipeError, match=r"has 2 values, but efficientnet_lite0 halves .* 5"):
            build_network(settings, dimension=2, channels=1, classes=2)

    def test_a_name_that_no_encoder_has_names_the_nearest(self):
        with pytest.raises(RecipeError, match=r"\(did you mean 'efficientnet_lite0'\?\)"):
            stride(section(name="encoder_unet", encoder="efficientnet_lite_0"))

    def test_dropout_takes_whole_channels_while_training_alone(self):
        settings = section(name="encoder_unet", dropout=0.5)
        torch.manual_seed(0)
        module = build_network(settings, dimension=2, channels=1, classes=2)
        given: list[torch.Tensor] = []
        module.head.register_forward_hook(lambda _m, taken, _g: given.append(taken[0]))
        images = torch.randn(2, 1, 32, 32)
        module.train()(images)
        module.eval()(images)
        while_training, else_ = ((x.abs().amax((2, 3)) == 0).float().mean() for x in given)
        assert 0.25 < while_training < 0.75
        assert else_ == 0
