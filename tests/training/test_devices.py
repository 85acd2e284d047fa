"""What a step needs follows the batch to its device.

No GPU is needed: tensors that say that they lie elsewhere keep their values on the CPU, and an
operation that would mix the two devices fails as it does on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

from rareseg.recipe import AugmentationSection, make_recipe
from rareseg.sampling.augmentation.augment import apply_plan, augment
from rareseg.sampling.augmentation.augmentation_plan import draw_plan
from rareseg.sampling.patches.composition import PhaseCounts
from rareseg.training.losses import losses, make_loss, training_loss
from rareseg.training.presence_losses import WithPresence
from rareseg_runner.image_records import IGNORE, Classes

ELSEWHERE = torch.device("meta")
CLASSES = Classes(
    names=("background", "spot", "line"),
    values=(0, 1, 2),
    regions={"foreground": (1, 2), "line": (2,)},
    ignore_value=IGNORE,
)
EVERYTHING = AugmentationSection(
    **dict.fromkeys(
        (
            "mirror",
            "rotate",
            "scale",
            "crop",
            "elastic",
            "gamma",
            "contrast",
            "brightness",
            "blur",
            "low_resolution",
            "noise",
            "occlusion",
        ),
        0.9,
    ),
    occlusion_ignores=True,
)


class Far(Tensor):
    """A tensor on another device, whose values can be had by copying alone."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Far:
        far = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=ELSEWHERE
        )
        far.held = held
        return far

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return TwoDevices().__torch_dispatch__(operation, types, args, kwargs)


class TwoDevices(TorchDispatchMode):
    """Carries out every operation on one device alone, copies apart."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        far = any(isinstance(tensor, Far) for tensor in tensors)
        wanted = kwargs.get("device")
        if wanted is not None:
            far, kwargs["device"] = torch.device(wanted) == ELSEWHERE, torch.device("cpu")
        copies = operation in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        near = [tensor for tensor in tensors if not isinstance(tensor, Far) and tensor.ndim > 0]
        if far and near and not copies:
            raise RuntimeError(f"{operation} was given tensors on two devices")
        held = tree_map_only(Far, lambda tensor: tensor.held, (args, kwargs))
        result = operation(*held[0], **held[1])
        if not far:
            return result
        result = tree_map_only(Tensor, Far, result)
        return return_and_correct_aliasing(operation, args, kwargs, result)


def away(tensor: Tensor) -> Far:
    return Far(tensor.clone())


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The one thing that the other device cannot have here is a generator.
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device=None: generator())
    with TwoDevices():
        yield


def batch_of(axes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((4, 2, *(24,) * axes), generator=generator)
    labels = torch.randint(0, 3, (4, *(24,) * axes), generator=generator, dtype=torch.uint8)
    labels[0, :3] = IGNORE
    labels[1] = 0
    return images, labels


def test_the_check_sees_what_is_left_behind(devices: None) -> None:
    with pytest.raises(RuntimeError, match="two devices"):
        away(torch.ones(3)) + torch.ones(3)
    assert (away(torch.ones(3)) + 1).cpu().tolist() == [2, 2, 2]
    with pytest.raises((RuntimeError, TypeError, NotImplementedError)):
        away(torch.ones(3)).numpy()


@pytest.mark.parametrize("labels_by", ["nearest", "votes"])
@pytest.mark.parametrize("axes", [2, 3])
def test_an_augmentation_follows_its_batch(devices: None, axes: int, labels_by: str) -> None:
    images, labels = batch_of(axes)
    settings = EVERYTHING.model_copy(update={"labels": labels_by})
    size = (16,) * axes
    there = augment(away(images), away(labels), settings, seed=5, patch_size=size)
    assert all(isinstance(tensor, Far) for tensor in there)
    here = augment(images, labels, settings, seed=5, patch_size=size)
    # The compiled warp and torch's add in another order; the noise is that of the same generator.
    assert torch.allclose(there[0].cpu(), here[0], atol=1e-2)
    assert (there[1].cpu() == here[1]).float().mean() > 0.99


@pytest.mark.parametrize("name", losses())
def test_losses_and_the_presence_head_follow_their_batch(devices: None, name: str) -> None:
    images, labels = batch_of(2)
    weighted = "class_weights" in losses()[name].section.model_fields
    weights = {"class_weights": (0.5, 1.0, 1.5)} if weighted else {}
    loss = make_loss(make_recipe({"loss": {"name": name, **weights}}).loss, CLASSES)

    def cost(images: Tensor, labels: Tensor, moved: bool) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        inner = torch.nn.Sequential(
            torch.nn.Conv2d(2, 4, 3, stride=2, padding=1), torch.nn.ConvTranspose2d(4, 3, 2, 2)
        )
        network = WithPresence(
            inner,
            deepest="0",
            features=4,
            dimension=2,
            classes=3,
            regions=tuple(CLASSES.regions.values()),
        )
        parameters = {
            key: (away(value) if moved else value.detach()).requires_grad_()
            for key, value in network.named_parameters()
        }
        output = torch.func.functional_call(network, parameters, (images,))
        value = training_loss(
            loss,
            output,
            labels.long(),
            presence_weight=0.5,
            regions=tuple(CLASSES.regions.values()),
        )
        value.backward()
        gradient = parameters["network.0.weight"].grad
        assert gradient is not None
        return value.detach().cpu(), gradient.cpu()

    there, here = cost(away(images), away(labels), True), cost(images, labels, False)
    assert torch.allclose(there[0], here[0])
    assert torch.allclose(there[1], here[1], atol=1e-6)


def test_labels_are_counted_where_they_lie(devices: None) -> None:
    _, labels = batch_of(2)
    here, there = PhaseCounts(1), PhaseCounts(1)
    here.count_labels(labels, 3)
    there.count_labels(away(labels), 3)
    there.fetch_device_counts()
    assert (there.voxels == here.voxels).all()
    assert there.with_foreground == here.with_foreground


def test_a_plan_can_be_carried_out_on_either_device(devices: None) -> None:
    images, labels = batch_of(2)
    plan = draw_plan(
        AugmentationSection(),
        patches=4,
        patch_size=(24, 24),
        generator=torch.Generator().manual_seed(1),
    )
    there, here = apply_plan(away(images), away(labels), plan), apply_plan(images, labels, plan)
    assert torch.equal(there[1].cpu(), here[1])
