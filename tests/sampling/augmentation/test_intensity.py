import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.augment import AugmentationPlan, apply_plan, draw_plan
from rareseg.sampling.augmentation.intensity import blurred, coarsening
from rareseg_runner.image_records import IGNORE

OFF = AugmentationSection(
    mirror=0, rotate=0, scale=0, brightness=0, contrast=0, gamma=0, noise=0, blur=0
)


def changed(images: torch.Tensor, **changes: object) -> torch.Tensor:
    """Return what a plan that does nothing but ``changes`` makes of images."""
    labels = torch.zeros((len(images), *images.shape[2:]), dtype=torch.uint8)
    return apply_plan(images, labels, plan_of(images, **changes))[0]


def plan_of(images: torch.Tensor, **changes: object) -> AugmentationPlan:
    plan = draw_plan(
        OFF,
        patches=len(images),
        patch_size=images.shape[2:],
        generator=torch.Generator().manual_seed(0),
    )
    return AugmentationPlan(**{**vars(plan), **changes})


def random_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(4))


def test_brightness_and_contrast_do_what_they_say() -> None:
    images = random_images(3, 2, 12, 12)
    new = changed(
        images,
        brightness=torch.tensor([0.5, 0.0, 0.0]),
        contrast=torch.tensor([1.0, 2.0, 1.0]),
    )
    torch.testing.assert_close(new[0], images[0] + 0.5)
    torch.testing.assert_close(new[1].std((1, 2)), 2 * images[1].std((1, 2)))
    torch.testing.assert_close(new[1].mean((1, 2)), images[1].mean((1, 2)))
    assert torch.equal(new[2], images[2])


def test_gamma_bends_between_the_ends_of_each_channel() -> None:
    images = torch.stack([torch.linspace(0, 1, 5), torch.linspace(-2, 2, 5)]).view(1, 2, 1, 5)
    new = changed(images, gamma=torch.tensor([2.0]))
    torch.testing.assert_close(new[0, 0, 0], torch.tensor([0, 1 / 16, 1 / 4, 9 / 16, 1]))
    torch.testing.assert_close(new[0, 1, 0], 4 * new[0, 0, 0] - 2)


def test_gamma_leaves_a_constant_patch() -> None:
    images = torch.full((1, 1, 4, 4), 3.0)
    torch.testing.assert_close(changed(images, gamma=torch.tensor([1.4])), images)


@pytest.mark.parametrize("sides", [(12, 20), (9, 12, 7)])
def test_blur_is_scipys(sides: tuple[int, ...]) -> None:
    images = random_images(4, 2, *sides)
    sigmas = torch.tensor([0.0, 0.5, 1.0, 1.7])
    new = changed(images, blur=sigmas)
    assert torch.equal(new[0], images[0])
    for patch in (1, 2, 3):
        for channel in range(2):
            expected = ndimage.gaussian_filter(
                images[patch, channel].numpy(), float(sigmas[patch]), mode="mirror"
            )
            np.testing.assert_allclose(new[patch, channel], expected, atol=1e-5)


@given(side=st.integers(1, 40), sigma=st.floats(0.1, 5), share=st.floats(0.05, 1))
def test_blur_and_lower_resolution_keep_what_is_constant(
    side: int, sigma: float, share: float
) -> None:
    constant = torch.full((2, 1, side, 3), 7.0)
    torch.testing.assert_close(blurred(constant, torch.tensor([sigma, 1.0])), constant)
    matrix = coarsening(torch.tensor([share, 0.5]), side)
    torch.testing.assert_close(matrix.sum(2), torch.ones(2, side))
    assert matrix.min() >= 0


def test_lower_resolution_by_hand() -> None:
    # Pairs are averaged to 1, 5, 9, 13; between their centres it is linear, beyond them constant.
    line = torch.tensor([0.0, 2, 4, 6, 8, 10, 12, 14])
    expected = torch.tensor([1.0, 2, 4, 6, 8, 10, 12, 13])
    torch.testing.assert_close(coarsening(torch.tensor([0.5]), 8)[0] @ line, expected)
    assert torch.equal(coarsening(torch.tensor([1.0]), 8)[0], torch.eye(8))
    torch.testing.assert_close(coarsening(torch.tensor([0.01]), 8)[0] @ line, torch.full((8,), 7.0))


@pytest.mark.parametrize("sides", [(16, 24), (8, 16, 12)])
def test_lower_resolution_keeps_the_mean_and_loses_detail(sides: tuple[int, ...]) -> None:
    images = random_images(3, 2, *sides)
    new = changed(images, resolution=torch.tensor([1.0, 0.5, 0.7]))
    axes = tuple(range(1, len(sides) + 1))
    assert torch.equal(new[0], images[0])
    torch.testing.assert_close(new[1].mean(axes), images[1].mean(axes))
    torch.testing.assert_close(new[2].mean(axes), images[2].mean(axes), atol=0.02, rtol=0)
    assert (new[1:].var((2, 3)) < images[1:].var((2, 3))).all()


@pytest.mark.parametrize("sides", [(64, 64), (16, 16, 16)])
def test_noise_has_its_deviation_and_is_drawn_for_each_patch(sides: tuple[int, ...]) -> None:
    images = torch.zeros(3, 2, *sides)
    new = changed(images, noise=torch.tensor([0.3, 0.0, 0.3]))
    assert torch.equal(new[1], images[1])
    for patch in (0, 2):
        assert new[patch].mean().abs() < 5 * 0.3 / new[patch].numel() ** 0.5
        assert new[patch].std().item() == pytest.approx(0.3, rel=0.05)
    together = torch.corrcoef(torch.stack([new[0].flatten(), new[2].flatten()]))[0, 1]
    assert together.abs() < 0.07


class TestOcclusion:
    BOX = torch.tensor([[[0.0, 0.5], [0.25, 0.75]], [[0.0, 0.0], [0.0, 0.0]]])

    @pytest.mark.parametrize("hide_labels", [False, True])
    def test_a_box_is_painted_and_labels_stay_unless_asked(self, hide_labels: bool) -> None:
        images = random_images(2, 2, 4, 8)
        labels = torch.full((2, 4, 8), 3)
        plan = plan_of(images, hidden=self.BOX, hide_labels=hide_labels)
        new_images, new_labels = apply_plan(images, labels, plan)
        covered = torch.zeros(4, 8, dtype=torch.bool)
        covered[:2, 2:6] = True
        for channel in range(2):
            mean = images[0, channel].mean()
            torch.testing.assert_close(new_images[0, channel][covered], mean.expand(8))
            assert torch.equal(new_images[0, channel][~covered], images[0, channel][~covered])
        assert torch.equal(new_images[1], images[1])
        expected = torch.where(covered, IGNORE, 3) if hide_labels else torch.full((4, 8), 3)
        assert torch.equal(new_labels[0], expected)
        assert (new_labels[1] == 3).all()

    def test_a_box_in_a_volume(self) -> None:
        images = random_images(1, 1, 4, 4, 4)
        box = torch.tensor([[[0.5, 1.0], [0.0, 0.25], [0.0, 1.0]]])
        new = changed(images, hidden=box)
        hidden = (new != images)[0, 0]
        assert hidden[2:, :1].all()
        assert hidden.sum() == 2 * 1 * 4
