"""EfficientNet-Lite gives what the reference gives, by recorded values: names prove little."""

import pytest
import torch
from torch import nn

from rareseg.prediction.encoders import efficientnet_lite as lite
from rareseg.prediction.encoders.efficientnet_lite import (
    EfficientNetLite,
    adapt_first_convolution,
    from_package_names,
    stages,
    widths,
)

CLOSE = 5e-3
"""Of values up to 60: far above what one processor differs from another, far below any mistake."""


def pretrained(name, weights) -> EfficientNetLite:
    encoder = EfficientNetLite(name, 3).eval()
    encoder.load_state_dict(from_package_names(weights))
    return encoder


def classify(features, weights):
    """Apply the classifier that the package holds beside the encoder."""
    x = nn.functional.conv2d(features, weights["_conv_head.weight"])
    norm = [weights[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    x = nn.functional.relu6(nn.functional.batch_norm(x, *norm, eps=lite.NORM_EPSILON))
    return x.mean((2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]


def largest_difference(encoder, name, *, image, weights, reference) -> float:
    """Return by how much features and logits differ from the recorded ones at most."""
    with torch.no_grad():
        features = encoder(image)
        logits = classify(features[-1], weights)[0]
    found, recorded = [], []
    for feature, values in zip(features, reference[name]["features"], strict=True):
        found += [feature.mean(), feature.std(), feature[0, 3, -1, -1], feature.abs().max()]
        recorded += values
    for place, value in reference[name]["logits"].items():
        found.append(logits[int(place)])
        recorded.append(value)
    return float((torch.stack(found) - torch.tensor(recorded)).abs().max())


@pytest.fixture(params=lite.NAMES)
def known(request, image, package_weights, reference):
    """A name with what is recorded of it, its weights and the image."""
    weights = package_weights(request.param)
    return request.param, {"image": image, "weights": weights, "reference": reference}


def test_features_and_logits_are_those_of_the_reference(known):
    name, values = known
    assert largest_difference(pretrained(name, values["weights"]), name, **values) < CLOSE


def pad_evenly(encoder):
    """Pad strided convolutions as torch does: the same weights are loaded, one pixel off."""
    for module in encoder.modules():
        if isinstance(pad := getattr(module, "pad", None), nn.ZeroPad2d):
            pad.padding = (module.conv.kernel_size[0] // 2,) * 4


def take_torchs_epsilon(encoder):
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = nn.BatchNorm2d(1).eps


def leave_out_a_shortcut(encoder):
    encoder.blocks[2].residual = False


@pytest.mark.parametrize("spoil", [pad_evenly, take_torchs_epsilon, leave_out_a_shortcut])
def test_what_loads_and_is_wrong_is_seen(spoil, image, package_weights, reference):
    name = "efficientnet_lite0"
    weights = package_weights(name)
    encoder = pretrained(name, weights)
    spoil(encoder)
    assert encoder.state_dict().keys() == EfficientNetLite(name, 3).state_dict().keys()
    values = {"image": image, "weights": weights, "reference": reference}
    assert largest_difference(encoder, name, **values) > 20 * CLOSE


@pytest.mark.parametrize(
    ("name", "repeats", "expected"),
    [
        ("efficientnet_lite0", (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 112, 320)),
        ("efficientnet_lite1", (1, 3, 3, 4, 4, 5, 1), (16, 24, 40, 112, 320)),
        ("efficientnet_lite2", (1, 3, 3, 4, 4, 5, 1), (16, 24, 48, 120, 352)),
    ],
)
def test_depth_and_width_of_the_family(name, repeats, expected):
    """As in the packages of Lite1 and Lite2, whose tensors all fit."""
    assert tuple(stage.repeats for stage in stages(name)) == repeats
    assert widths(name) == expected
    features = EfficientNetLite(name, 2)(torch.zeros(2, 2, 32, 64))
    assert [tuple(x.shape) for x in features] == [
        (2, width, 32 // reduction, 64 // reduction)
        for width, reduction in zip(expected, lite.REDUCTIONS, strict=True)
    ]


def test_names_of_this_module_pass_and_the_classifier_is_left_out(package_weights):
    weights = package_weights("efficientnet_lite0")
    renamed = from_package_names(weights)
    own = EfficientNetLite("efficientnet_lite0", 3).state_dict()
    assert renamed.keys() == own.keys()
    assert from_package_names(renamed).keys() == renamed.keys()
    left_out = {name for name in weights if name.startswith(("_conv_head.", "_bn1.", "_fc."))}
    assert len(weights) == len(renamed) + len(left_out)


class TestFirstConvolution:
    FIRST = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))

    def adapted(self, channels):
        return adapt_first_convolution({lite.FIRST: self.FIRST, "other": torch.ones(3)}, channels)

    def test_a_grey_image_through_one_channel_is_three_copies_through_three(self, package_weights):
        weights = from_package_names(package_weights("efficientnet_lite0"))
        three, one = (
            EfficientNetLite("efficientnet_lite0", 3),
            EfficientNetLite("efficientnet_lite0", 1),
        )
        three.load_state_dict(weights)
        one.load_state_dict(adapt_first_convolution(weights, 1))
        grey = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            pairs = zip(three.eval()(grey.expand(1, 3, 32, 32)), one.eval()(grey), strict=True)
            for left, right in pairs:
                torch.testing.assert_close(left, right, atol=1e-3, rtol=1e-4)

    def test_three_channels_stay_as_they_are(self):
        assert torch.equal(self.adapted(3)[lite.FIRST], self.FIRST)

    def test_two_channels_are_red_and_green_times_three_halves(self):
        assert torch.equal(self.adapted(2)[lite.FIRST], 1.5 * self.FIRST[:, :2])

    def test_four_channels_are_red_green_blue_red_times_three_quarters(self):
        expected = 0.75 * torch.cat([self.FIRST, self.FIRST[:, :1]], dim=1)
        assert torch.equal(self.adapted(4)[lite.FIRST], expected)

    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
    def test_the_same_value_in_every_channel_is_answered_alike(self, channels):
        """The response keeps its size, whatever the number of channels, up to what colour adds."""
        grey = torch.ones(4, 3, 3, 3) * torch.arange(4.0)[:, None, None, None]
        weights = adapt_first_convolution({lite.FIRST: grey}, channels)[lite.FIRST]
        assert weights.shape == (4, channels, 3, 3)
        torch.testing.assert_close(weights.sum(dim=1), grey.sum(dim=1))

    def test_nothing_else_changes(self):
        assert torch.equal(self.adapted(4)["other"], torch.ones(3))
        other = {lite.FIRST: torch.ones(4, 5, 3, 3)}
        assert torch.equal(adapt_first_convolution(other, 2)[lite.FIRST], other[lite.FIRST])
        assert adapt_first_convolution({}, 1) == {}
