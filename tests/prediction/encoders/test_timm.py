"""Encoders of the real timm, and ours compared with it: make test-extras, or wherever timm is."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file

from rareseg.errors import RecipeError
from rareseg.prediction.bundle import load_model
from rareseg.prediction.encoders import efficientnet_lite as lite
from rareseg.prediction.encoders.efficientnet_lite import EfficientNetLite
from rareseg.prediction.encoders.encoder_registry import encoder_called
from rareseg.prediction.networks import first_weights, stride
from rareseg.prediction.weights.weight_transfer import begin_with
from rareseg.recipe import make_recipe

pytestmark = [pytest.mark.extras, pytest.mark.usefixtures("timm")]


def untracked(weights):
    """The tensors less the counters of batches, which not every checkpoint holds, in order."""
    return {name: t for name, t in weights.items() if not name.endswith("num_batches_tracked")}


def of_random_statistics(module, seed=0):
    """Give the norms statistics that a mistake in their order would show."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) / 4)
            layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
    return module.eval()


class TestOurs:
    @pytest.mark.parametrize("name", lite.NAMES)
    def test_lite_networks_are_those_of_timm_for_any_weights(self, name, timm, image):
        theirs = timm.create_model(f"tf_{name}", pretrained=False, features_only=True)
        theirs = of_random_statistics(theirs)
        ours = EfficientNetLite(name, 3).eval()
        pairs = zip(
            untracked(ours.state_dict()), untracked(theirs.state_dict()).values(), strict=True
        )
        ours.load_state_dict(dict(pairs), strict=False)
        with torch.no_grad():
            for left, right in zip(ours(image), theirs(image), strict=True):
                torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("name", lite.NAMES)
    def test_the_recorded_values_are_those_of_timm(
        self, name, timm, image, package_weights, reference
    ):
        network = timm.create_model(f"tf_{name}", pretrained=False).eval()
        own = untracked(network.state_dict())
        weights = untracked(package_weights(name))
        network.load_state_dict(dict(zip(own, weights.values(), strict=True)), strict=False)
        with torch.no_grad():
            features = network.forward_intermediates(image, intermediates_only=True)
            logits = network(image)[0]
        for feature, values in zip(features, reference[name]["features"], strict=True):
            found = (feature.mean(), feature.std(), feature[0, 3, -1, -1], feature.abs().max())
            assert [float(v) for v in found] == pytest.approx(values, abs=1e-3)
        for place, value in reference[name]["logits"].items():
            assert float(logits[int(place)]) == pytest.approx(value, abs=1e-3)

    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7])
    def test_the_first_convolution_is_adapted_as_by_timm(self, channels, timm):
        first = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        ours = lite.adapt_first_convolution({lite.FIRST: first}, channels)[lite.FIRST]
        torch.testing.assert_close(ours, timm.models.adapt_input_conv(channels, first))


PYRAMIDS = [
    ("convnext_atto", (40, 80, 160, 320), (4, 8, 16, 32)),
    ("resnet18", (64, 64, 128, 256, 512), (2, 4, 8, 16, 32)),
    ("mambaout_femto", (48, 96, 192, 288), (4, 8, 16, 32)),  # channels last
    ("vgg11", (128, 256, 512, 512, 512), (2, 4, 8, 16, 32)),  # and one of the image's size
]


class TestPyramids:
    @pytest.mark.parametrize(("name", "widths", "reductions"), PYRAMIDS)
    def test_features_are_what_the_record_says(self, name, widths, reductions):
        encoder = encoder_called(name)
        assert encoder.shape.widths == widths
        assert encoder.shape.reductions == reductions
        for channels in (1, 5):
            with torch.device("meta"):  # where shapes are known, and no memory is needed
                features = encoder.build(channels)(torch.zeros(2, channels, 64, 96))
            assert [tuple(x.shape) for x in features] == [
                (2, w, 64 // r, 96 // r) for w, r in zip(widths, reductions, strict=True)
            ]

    @pytest.mark.parametrize("name", ["convnext_atto", "mambaout_femto", "resnet18"])
    def test_the_network_learns_in_every_parameter(self, name, make_network):
        network = make_network(encoder=name, channels=2).train()
        settings = make_recipe({"network": {"name": "encoder_unet", "encoder": name}}).network
        assert stride(settings) == 32
        logits = network(torch.randn(2, 2, 64, 96))
        assert logits.shape == (2, 2, 64, 96)
        logits.square().mean().backward()
        assert [n for n, p in network.named_parameters() if p.grad is None] == []
        with torch.no_grad():
            assert network.eval()(torch.zeros(1, 2, 32, 32)).shape == (1, 2, 32, 32)

    def test_looking_at_a_network_draws_nothing(self):
        """The first look must not move the weights that a seed gives."""
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        encoder_called("regnetx_002")
        assert torch.equal(torch.rand(3), expected)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("convnext_tinny", r"\(did you mean 'convnext_tiny'\?\)"),
            ("efficientnet_lite_0", r"did you mean 'efficientnet_lite0'"),
            ("vit_tiny_patch16_224", "at 1/16, 1/16, 1/16 of the image, which are no pyramid"),
            ("swin_tiny_patch4_window7_224", "does not take images of any size: Input height"),
            ("maxvit_nano_rw_256", "does not take images of any size"),
            ("resnet18.of_no_such_tag", "Invalid pretrained tag"),
        ],
    )
    def test_what_gives_no_pyramid_is_one_sentence(self, name, words):
        with pytest.raises(RecipeError, match=words) as caught:
            encoder_called(name)
        assert "\n" not in str(caught.value)
        assert "convnext_tiny" in str(caught.value)


class TestWeights:
    @pytest.fixture
    def begin(self, make_network):
        def found(name, weights, *, channels=3):
            network = {"encoder": name, "encoder_weights": str(weights)}
            module = make_network(channels=channels, **network)
            settings = make_recipe({"network": {"name": "encoder_unet", **network}}).network
            return first_weights(settings, module), module

        return found

    @pytest.mark.parametrize(
        ("name", "head"),
        [
            ("convnext_atto", "head.fc.weight"),
            ("resnet18", "fc.weight"),
            ("mambaout_femto", "head.fc.weight"),
            ("xception41", "head.fc.weight"),
        ],
    )
    def test_a_plain_checkpoint_fits_whole_and_gives_the_same_features(
        self, name, head, begin, timm, image, tmp_path
    ):
        plain = of_random_statistics(timm.create_model(name, pretrained=False))
        torch.save(plain.state_dict(), tmp_path / "a.pt")
        found, network = begin(name, tmp_path / "a.pt")
        assert (found.unlike, found.absent) == ({}, ())
        assert head in found.unused
        begin_with(network, found.weights)
        with torch.no_grad():
            ours = network.encoder.eval()(image)
            theirs = plain.forward_intermediates(image, intermediates_only=True)
        for left, right in zip(ours, theirs[-len(ours) :], strict=True):
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)

    def test_a_grey_image_through_one_channel_is_three_copies_through_three(
        self, begin, timm, image, tmp_path
    ):
        plain = of_random_statistics(timm.create_model("resnet18", pretrained=False))
        torch.save(plain.state_dict(), tmp_path / "a.pt")
        three, one = (begin("resnet18", tmp_path / "a.pt", channels=c) for c in (3, 1))
        for found, network in (three, one):
            begin_with(network, found.weights)
        grey = image[:, :1]
        with torch.no_grad():
            of_three = three[1].encoder.eval()(grey.expand(1, 3, 64, 96))
            of_one = one[1].encoder.eval()(grey)
        for left, right in zip(of_three, of_one, strict=True):
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("wrapped", [False, True])
    def test_of_a_pyramid_or_of_a_whole_network_of_ours(
        self, wrapped, begin, timm, make_network, tmp_path
    ):
        if wrapped:
            there = make_network(encoder="convnext_atto", seed=3).state_dict()
        else:
            torch.manual_seed(3)
            there = timm.create_model("convnext_atto", features_only=True).state_dict()
        torch.save(there, tmp_path / "a.pt")
        found, _ = begin("convnext_atto", tmp_path / "a.pt")
        assert (found.unlike, found.absent) == ({}, ())

    def test_another_architecture_is_refused(self, begin, timm, tmp_path):
        torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "a.pt")
        with pytest.raises(RecipeError, match=r"whose architecture is not that of .* resnet50"):
            begin("resnet50", tmp_path / "a.pt")

    def test_the_cache_of_timm_is_read_and_nothing_is_fetched(
        self, begin, timm, monkeypatch, tmp_path
    ):
        constants = importlib.import_module("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(RecipeError) as caught:
            begin("resnet18", "pretrained")
        assert "weights are not fetched at run time and timm's cache holds none of resnet18" in str(
            caught.value
        )
        plain = timm.create_model("resnet18", pretrained=False)
        kept = tmp_path / "models--timm--resnet18.a1_in1k"
        (kept / "snapshots" / "abc").mkdir(parents=True)
        (kept / "refs").mkdir()
        (kept / "refs" / "main").write_text("abc")
        tensors = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
        save_file(tensors, kept / "snapshots" / "abc" / "model.safetensors")
        found, _ = begin("resnet18", "pretrained")
        assert (found.unlike, found.absent) == ({}, ())
        assert found.source == "resnet18, pretrained (the cache of timm)"
        assert found.licence == "Apache-2.0"
        taken = found.weights["encoder.pyramid.conv1.weight"]
        assert torch.equal(taken, plain.state_dict()["conv1.weight"])


def test_it_trains_and_predicts(specks, call, settings, tmp_path):
    run, images = tmp_path / "run", tmp_path / "images"
    given = settings(
        network__name="encoder_unet",
        network__encoder="convnext_atto",
        network__encoder_weights="none",
        training__steps=3,
    )
    pairs = zip(given[::2], given[1::2], strict=True)
    training_options = [part for pair in pairs if "network.width" not in pair[1] for part in pair]
    called = call("train", specks, "--out", run, *training_options)
    assert called.code == 0, called.err
    assert load_model(run / "bundle").recipe.network.encoder == "convnext_atto"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (70, 50), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(images / "a.png")
    called = call("predict", run, images, "--out", tmp_path / "out")
    assert called.code == 0, called.err
    assert np.asarray(PIL.Image.open(tmp_path / "out" / "a.png")).shape == (70, 50)


def test_beside_a_torchvision_of_another_torch_the_sentence_is_said():
    """In a process of its own, in which nobody defines the operators."""
    code = (
        "import importlib\n"
        "try:\n    importlib.import_module('torchvision')\n"
        "except RuntimeError:\n"
        "    from rareseg.prediction.encoders.encoder_registry import encoder_called\n"
        "    encoder_called('convnext_atto')\n"
        "else:\n    print('fits')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    if "fits" in done.stdout:
        pytest.skip("this torchvision was built for this torch")
    assert (
        "RecipeError: network.encoder is 'convnext_atto', but timm cannot be imported"
        in done.stderr
    )
    assert "operator torchvision::nms does not exist" in done.stderr
