import pytest
import torch

from rareseg.errors import RecipeError
from rareseg.prediction.networks import (
    NETWORKS,
    build_network,
    deepest,
    encoder,
    fold,
    stride,
)
from rareseg.recipe import NetworkSection


def settings_for(name: str, **changes: object) -> NetworkSection:
    width = (8, 16, 16, 16, 16) if name == "basicunet" else (8, 16, 16)
    return NetworkSection.model_validate({"name": name, "width": width, **changes})


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch", "group"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_a_logit_per_voxel_and_class(
    name: str, norm: str, dimension: int
) -> None:
    settings = settings_for(name, norm=norm, dropout=0.1)
    side = 2 * stride(settings)
    network = build_network(settings, dimension=dimension, channels=2, classes=3)
    images = torch.randn(2, 2, *(side,) * dimension)
    logits = network(images)
    assert logits.shape == (2, 3, *(side,) * dimension)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("residual_units", [0, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_encoder_is_what_the_deepest_features_depend_on(name: str, residual_units: int) -> None:
    settings = settings_for(name, residual_units=residual_units)
    network = build_network(settings, dimension=2, channels=2, classes=3)
    modules = [network.get_submodule(part) for part in encoder(settings)]
    within = {id(p) for module in modules for p in module.parameters()}
    features: list[torch.Tensor] = []
    network.get_submodule(deepest(settings)[0]).register_forward_hook(
        lambda _module, _inputs, output: features.append(output)
    )
    network(torch.randn(2, 2, *(4 * stride(settings),) * 2))
    features[0].square().sum().backward()
    names = {id(p): key for key, p in network.named_parameters()}
    needed = {id(p) for p in network.parameters() if p.grad is not None}
    assert {names[key] for key in within} == {names[key] for key in needed}


@pytest.mark.parametrize("dimension", [2, 3])
def test_folding_moves_neighbours_into_channels_and_loses_nothing(dimension: int) -> None:
    images = torch.arange(2 * 3 * 4**dimension).reshape(2, 3, *(4,) * dimension)
    folded = fold(images)
    assert folded.shape == (2, 3 * 2**dimension, *(2,) * dimension)
    corner = (slice(0, 2),) * dimension
    first = folded[(0, slice(0, 2**dimension), *(0,) * dimension)]
    assert torch.equal(first, images[(0, 0, *corner)].flatten())
    assert torch.equal(folded.flatten().sort().values, images.flatten())


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'half_unet'"):
        build_network(NetworkSection(name="half-unet"), dimension=2, channels=1, classes=2)


def test_a_width_that_basicunet_cannot_take_is_refused() -> None:
    with pytest.raises(RecipeError, match="give 5 widths"):
        build_network(settings_for("basicunet", width=(8, 8)), dimension=2, channels=1, classes=2)


@pytest.mark.parametrize("name", ["half_unet", "dynunet"])
def test_too_few_levels_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="needs at least 3 levels"):
        build_network(settings_for(name, width=(8, 8)), dimension=2, channels=1, classes=2)
