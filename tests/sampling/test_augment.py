import math

import pytest
import torch

from rareseg.data.records import IGNORE
from rareseg.recipe import AugmentationSection
from rareseg.sampling.augment import AugmentationPlan, apply_plan, augment, draw_plan

OFF = AugmentationSection(
    mirror=0, rotate=0, scale=0, brightness=0, contrast=0, gamma=0, noise=0, blur=0
)
ALWAYS = AugmentationSection(
    mirror=0.5, rotate=1, scale=1, brightness=1, contrast=1, gamma=1, noise=1, blur=1
)


def a_batch(dimension: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches whose first channel shows their labels, a block off the centre."""
    labels = torch.zeros((3, *(side,) * dimension), dtype=torch.int64)
    labels[(slice(None), *(slice(4, 8),) * dimension)] = 2
    return labels.unsqueeze(1).float().repeat(1, 2, *(1,) * dimension), labels


def neutral(patches: int, dimension: int, **changes: torch.Tensor) -> AugmentationPlan:
    generator = torch.Generator().manual_seed(0)
    plan = draw_plan(OFF, patches=patches, dimension=dimension, generator=generator)
    return AugmentationPlan(**{**vars(plan), **changes})


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_neutral_plan_changes_nothing(dimension: int) -> None:
    images, labels = a_batch(dimension)
    new_images, new_labels = augment(images, labels, OFF, seed=3)
    torch.testing.assert_close(new_images, images)
    assert torch.equal(new_labels, labels)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_same_seed_changes_alike_and_another_differently(dimension: int) -> None:
    images, labels = a_batch(dimension)
    first, second, other = (augment(images, labels, ALWAYS, seed=s) for s in (5, 5, 6))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_quarter_turn_moves_image_and_labels_exactly(dimension: int) -> None:
    images, labels = a_batch(dimension)
    angles = torch.zeros(3, 1 if dimension == 2 else 3)
    angles[1, 0] = math.pi / 2
    plan = neutral(3, dimension, angles=angles)
    new_images, new_labels = apply_plan(images, labels, plan, torch.Generator())
    turned = torch.rot90(labels[1], 1, (dimension - 2, dimension - 1))
    assert torch.equal(new_labels[1], turned)
    torch.testing.assert_close(new_images[1, 0], turned.float(), atol=1e-4, rtol=0)
    assert torch.equal(new_labels[0], labels[0])


@pytest.mark.parametrize("dimension", [2, 3])
def test_mirroring_flips_the_axes_that_the_plan_names(dimension: int) -> None:
    images, labels = a_batch(dimension)
    mirror = torch.zeros(3, dimension, dtype=torch.bool)
    mirror[2, 1] = True
    new_images, new_labels = apply_plan(
        images, labels, neutral(3, dimension, mirror=mirror), torch.Generator()
    )
    assert torch.equal(new_labels[2], labels[2].flip(1))
    torch.testing.assert_close(new_images[2], images[2].flip(2))
    assert torch.equal(new_labels[:2], labels[:2])


def test_shrinking_brings_in_ignored_labels_and_a_reflected_image() -> None:
    images, labels = a_batch(2)
    plan = neutral(3, 2, scale=torch.tensor([0.5, 1.0, 1.0]))
    new_images, new_labels = apply_plan(images, labels, plan, torch.Generator())
    assert (new_labels[0, :3] == IGNORE).all()
    assert (new_labels[0, 5:11, 5:11] != IGNORE).all()
    assert (new_labels[0] == 2).sum() == (labels[0] == 2).sum() / 4
    assert torch.isfinite(new_images).all()


def test_ignored_voxels_stay_ignored_under_a_warp() -> None:
    images, labels = a_batch(2)
    labels[:] = IGNORE
    _, new_labels = augment(images, labels, ALWAYS, seed=0)
    assert (new_labels == IGNORE).all()


def test_rotation_is_rigid_in_a_patch_that_is_not_square() -> None:
    labels = torch.zeros(1, 64, 32, dtype=torch.int64)
    labels[0, 28:36, 12:20] = 1  # an 8 x 8 square about the centre
    images = labels.unsqueeze(1).float()
    plan = neutral(1, 2, angles=torch.tensor([[math.pi / 4]]))
    _, turned = apply_plan(images, labels, plan, torch.Generator())
    # A square of side 8 on its tip spans 8·√2 ≈ 11.3 along both axes.
    rows, columns = torch.nonzero(turned[0] == 1).T
    for spread in (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1):
        assert 9 <= spread <= 12


def test_brightness_contrast_gamma_and_blur_do_what_they_say() -> None:
    images, labels = a_batch(2)
    plan = neutral(
        3,
        2,
        brightness=torch.tensor([0.5, 0.0, 0.0]),
        contrast=torch.tensor([1.0, 2.0, 1.0]),
        blur=torch.tensor([0.0, 0.0, 1.0]),
    )
    changed, _ = apply_plan(images, labels, plan, torch.Generator())
    torch.testing.assert_close(changed[0], images[0] + 0.5)
    torch.testing.assert_close(changed[1].std(), 2 * images[1].std())
    torch.testing.assert_close(changed[1].mean(), images[1].mean())
    assert changed[2].var() < images[2].var()
    bent, _ = apply_plan(
        images, labels, neutral(3, 2, gamma=torch.full((3,), 2.0)), torch.Generator()
    )
    assert bent.min() == images.min()
    assert bent.max() == images.max()


def test_an_empty_batch_passes() -> None:
    images, labels = torch.zeros(0, 1, 8, 8), torch.zeros(0, 8, 8, dtype=torch.int64)
    new_images, new_labels = augment(images, labels, ALWAYS, seed=0)
    assert new_images.shape == images.shape
    assert new_labels.shape == labels.shape
