"""Earlier weights: what fits is taken over, what does not is named, and nothing is unpickled."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from rareseg.errors import BundleError, RecipeError
from rareseg.prediction.networks import build_network, networks
from rareseg.prediction.weights.weight_transfer import (
    begin_with,
    read_weights,
    transfer,
    weights_file,
)
from rareseg.recipe import make_recipe
from rareseg.report.wording.initial_weights_text import initial_weights_sentences

SMALL = {
    "basicunet": {"width": (8, 16, 16, 16, 16)},
    "segresnet": {"first_width": 8, "levels": 3},
    "encoder_unet": {"decoder_width": (16, 16, 16, 8, 8)},
}
"""What makes a network small, where it is not three widths."""


def network(name: str = "dynunet", *, channels: int = 1, classes: int = 2, seed: int = 0):
    torch.manual_seed(seed)
    values = {"name": name, "norm": "batch", **SMALL.get(name, {"width": (8, 16, 16)})}
    settings = make_recipe({"network": values}).network
    return build_network(settings, dimension=2, channels=channels, classes=classes)


def saved(weights, path):
    """Save as safetensors; names that share memory are copied apart, as in our bundles."""
    save_file({name: tensor.clone().contiguous() for name, tensor in weights.items()}, path)
    return path


def same(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("name", networks())
def test_the_same_network_is_taken_over_whole(name, tmp_path):
    earlier, new = network(name), network(name, seed=1)
    found = transfer(saved(earlier.state_dict(), tmp_path / "a.safetensors"), new, source="a")
    assert not same(earlier.state_dict(), new.state_dict())
    begin_with(new, found.weights)
    assert same(earlier.state_dict(), new.state_dict())
    assert (found.unlike, found.absent, found.unused) == ({}, (), ())
    total = len({id(t) for t in new.state_dict(keep_vars=True).values()})
    assert initial_weights_sentences(found.origin) == (
        f"begins with {total} of its {total} tensors from a",
    )


@pytest.mark.parametrize("name", networks())
def test_of_other_classes_and_channels_only_the_ends_begin_anew(name, tmp_path):
    earlier, new = network(name), network(name, channels=3, classes=5, seed=1)
    before = {key: tensor.clone() for key, tensor in new.state_dict().items()}
    found = transfer(saved(earlier.state_dict(), tmp_path / "a.safetensors"), new, source="a")
    begin_with(new, found.weights)
    after = new.state_dict()
    assert found.unlike
    assert not found.absent
    assert not found.unused
    for key, tensor in earlier.state_dict().items():
        fits = tensor.shape == after[key].shape
        assert torch.equal(after[key], tensor if fits else before[key])
    assert set(found.unlike) <= {
        key for key in after if after[key].shape != earlier.state_dict()[key].shape
    }
    first = next(iter(found.unlike))
    there, here = earlier.state_dict()[first].shape, after[first].shape
    assert found.unlike[first] == (
        f"{' x '.join(map(str, there))} there, {' x '.join(map(str, here))} here"
    )


def test_a_prefix_on_either_side_is_seen_through(tmp_path):
    earlier = network("dynunet", classes=8, channels=4).state_dict()
    wrapped = {f"model.net.{key}": tensor for key, tensor in earlier.items()}
    plain = network("dynunet", classes=8, channels=4, seed=1)
    found = transfer(saved(wrapped, tmp_path / "a.safetensors"), plain, source="a")
    begin_with(plain, found.weights)
    assert same(plain.state_dict(), earlier)
    # A U-Net at half resolution has a plain one inside.
    half = network("half_unet", seed=1)
    found = transfer(saved(earlier, tmp_path / "b.safetensors"), half, source="b")
    begin_with(half, found.weights)
    inside = half.core.state_dict()
    assert same(inside, earlier)
    assert all(name.startswith(("unfold.", "refine.")) for name in found.absent)


def test_what_only_one_side_has_is_named(tmp_path):
    earlier = network("dynunet").state_dict()
    del earlier["bottleneck.conv1.conv.weight"]
    earlier = {k: t for k, t in earlier.items() if not k.startswith("skip_layers")}
    earlier["head.weight"] = torch.zeros(3)
    path = saved(earlier, tmp_path / "a.safetensors")
    found = transfer(path, network("dynunet", seed=1), source="a")
    assert found.absent == ("bottleneck.conv1.conv.weight",)
    assert found.unused == ("head.weight",)
    said = " ".join(initial_weights_sentences(found.origin))
    assert "bottleneck.conv1.conv.weight" in said
    assert "head.weight" in said
    assert found.origin.absent == ("bottleneck.conv1.conv.weight",)
    assert sorted(found.weights) == list(found.origin.taken)


def test_the_state_dict_within_a_checkpoint_is_found(tmp_path):
    weights = network().state_dict()
    checkpoint = {"epoch": 3, "state_dict": weights, "scaler": {"scale": torch.ones(1)}}
    torch.save(checkpoint, tmp_path / "a.ckpt")
    torch.save(weights, tmp_path / "b.pt")
    assert same(read_weights(tmp_path / "a.ckpt"), weights)
    assert same(read_weights(tmp_path / "b.pt"), weights)


class Malicious:
    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return open, (str(self.touched), "w")


def test_nothing_is_unpickled(tmp_path):
    torch.save({"state_dict": Malicious(tmp_path / "touched")}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Malicious(tmp_path / "touched")))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(BundleError, match="never unpickled"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_damaged_file_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"\0" * 100)
    with pytest.raises(BundleError, match=name):
        read_weights(tmp_path / name)


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(BundleError, match="no state_dict"):
        read_weights(tmp_path / "a.pt")


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    path = saved(network("segresnet").state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(RecipeError, match=r"nothing fits the network: it holds .* are needed"):
        transfer(path, network("dynunet"), source="a")


def test_a_place_without_weights_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="no file, no run and no bundle"):
        weights_file(tmp_path)
